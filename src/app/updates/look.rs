//! What the store says now, and the files that tell when it says something else.

use tokio::task::spawn_blocking;

use super::wanted::wanted;
use crate::model::Model;
use crate::store::{Labels, Store, StoreError};
use crate::watched::Watched;

/// The labels of these models. To be called before they are read.
pub(super) fn watch_labels(store: &Store, models: &[Model]) -> Watched {
    Watched::new(models.iter().flat_map(|model| store.files(model.spec().name, &[])).collect())
}

/// The parts of every version that has a label. To be called before they are read.
pub(super) fn watch_versions(store: &Store, models: &[Model], labels: &[Option<Labels>]) -> Watched {
    let known = models.iter().zip(labels).filter_map(|(model, labels)| Some((model.spec(), labels.as_ref()?)));
    let files = known.flat_map(|(spec, labels)| {
        let wanted = wanted(labels, spec.version);
        let versions: Vec<&str> = wanted.iter().map(|what| what.version.as_str()).collect();
        store.files(spec.name, &versions)
    });
    Watched::new(files.collect())
}

/// The labels of each model; nothing where they cannot be read, which is told.
pub(super) async fn labels(store: &Store, models: &[Model]) -> Vec<Option<Labels>> {
    let store = store.clone();
    let names: Vec<&'static str> = models.iter().map(|model| model.spec().name).collect();
    let read = move || names.iter().map(|name| store.labels(name)).collect::<Vec<_>>();
    let all: Vec<Result<Labels, StoreError>> = spawn_blocking(read).await.unwrap_or_default();
    let told = |labels: Result<Labels, StoreError>| {
        labels.inspect_err(|error| tracing::error!(%error, "labels are not followed; what was served goes on")).ok()
    };
    all.into_iter().map(told).collect()
}
