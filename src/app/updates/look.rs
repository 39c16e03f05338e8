//! What the store says now, and the files that tell when it says something else.

use tokio::task::spawn_blocking;

use super::wanted::Asked;
use kiln_inference::model::Model;
use crate::store::{Labels, Store, StoreError};
use kiln_runtime::file_watcher::{FileWatcher, Fingerprint};

/// What the store said when it was looked at.
pub(super) struct Look {
    /// Of each model; nothing where the labels cannot be read.
    pub(super) asked: Vec<Option<Asked>>,
    /// The labels, and the parts of every version that has one.
    files: FileWatcher,
}

impl Look {
    /// Reads labels and manifests, off the async threads. Labels that cannot be read are told.
    pub(super) async fn take(store: &Store, models: Vec<Model>) -> Self {
        let store = store.clone();
        spawn_blocking(move || Self::of(&store, &models)).await.expect("nothing there panics")
    }

    fn of(store: &Store, models: &[Model]) -> Self {
        // Before they are read, so that no change is missed. Versions that had no label then are watched from now on.
        let labels_alone = models.iter().flat_map(|model| store.files(model.spec().name, &[])).collect();
        let labelled = FileWatcher::new(labels_alone);
        let labels: Vec<_> = models.iter().map(|model| told(store.labels(model.spec().name))).collect();
        let known = || models.iter().zip(&labels).filter_map(|(model, labels)| Some((model, labels.as_ref()?)));
        let parts = known().flat_map(|(model, labels)| {
            let asked = Asked::new(labels, model.spec().version, |_| (None, Fingerprint::default()));
            let versions: Vec<&str> = asked.all().map(|case| case.what.version.as_str()).collect();
            store.files(model.spec().name, &versions)
        });
        let files = labelled.with_files(parts.collect());
        let asked = models.iter().zip(&labels).map(|(model, labels)| Some(asked_of(store, model, labels.as_ref()?)));
        Self { asked: asked.collect(), files }
    }

    /// Returns when the store says something else than before.
    pub(super) async fn changed(&mut self) {
        self.files.changed().await;
    }
}

fn asked_of(store: &Store, model: &Model, labels: &Labels) -> Asked {
    let spec = model.spec();
    Asked::new(labels, spec.version, |version| match version == spec.version {
        true => (None, Fingerprint::default()),
        // Why it cannot be read is told by who loads it.
        false => {
            // Not the labels, which come first: those of other versions are none of its own.
            let files: Vec<_> = store.files(spec.name, &[version]).into_iter().skip(1).collect();
            let files = Fingerprint::of(&files);
            (store.manifest(model, version).ok().map(|manifest| manifest.weights), files)
        }
    })
}

fn told(labels: Result<Labels, StoreError>) -> Option<Labels> {
    labels.inspect_err(|error| tracing::error!(%error, "labels are not followed; what was served goes on")).ok()
}
