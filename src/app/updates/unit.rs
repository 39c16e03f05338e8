//! One loaded version, with all that keeps it at work.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use super::super::load::{LoadError, ModelLoader, join};
use super::wanted::Wanted;
use crate::store::Store;
use kiln_classifier::Classifier;
use kiln_classifier::batching::Worker;
use kiln_inference::model::Model;
use kiln_inference::{BurnEngine, Step};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;

/// Which unit, and why it is of no use any more.
pub(super) type Broken = (u64, String);

/// A version with its engines, which have no queue yet.
pub(super) type Loaded = (Model, Vec<BurnEngine>);

/// A version that is loaded.
pub(super) struct Unit {
    /// No two of a process are the same.
    pub(super) id: u64,
    pub(super) what: Wanted,
    pub(super) classifier: Arc<Classifier>,
    worker: Worker,
    /// Tells when it breaks, if the server can do without it. Ends with the unit.
    _guard: JoinSet<()>,
}

/// Reads, loads and warms up a version of a built-in model on each device, off the async threads.
pub(super) async fn start(
    host: &ModelLoader,
    store: Option<&Store>,
    model: &Model,
    version: &str,
    progress: fn(Step),
) -> Result<Loaded, LoadError> {
    let (host, store, model, version) = (host.clone(), store.cloned(), model.clone(), version.to_string());
    let work = move || {
        let model = match store {
            Some(store) => store.read(&model, &version)?,
            None => model,
        };
        let engines = host.start_engines(&model, &progress)?;
        Ok((model, engines))
    };
    join(tokio::task::spawn_blocking(work).await)
}

impl Unit {
    /// A unit that the server stands or falls with.
    pub(super) fn stable(host: &ModelLoader, id: u64, (model, engines): Loaded, readiness: Readiness) -> Self {
        let what = Wanted::stable(model.version(), weights(&model));
        let metrics = ModelMetrics::new(model.spec().name, model.version());
        let (classifier, worker) = host.resources.build_classifier(model, engines, readiness, metrics);
        Self { id, what, classifier: Arc::new(classifier), worker, _guard: JoinSet::new() }
    }

    /// A unit that the server can do without: if it breaks, `broken` is told.
    pub(super) fn aside(
        host: &ModelLoader,
        id: u64,
        (model, engines): Loaded,
        of: &Readiness,
        broken: UnboundedSender<Broken>,
    ) -> Self {
        let what = Wanted::aside(model.version(), weights(&model));
        let readiness = of.optional();
        // The stable version counts for the devices.
        let metrics = ModelMetrics::beside_stable(model.spec().name, model.version());
        let (classifier, worker) = host.resources.build_classifier(model, engines, readiness.clone(), metrics);
        let mut guard = JoinSet::new();
        guard.spawn(async move {
            let reason = readiness.wait_for_failure().await;
            // Nobody listens any more when the server ends.
            let _ = broken.send((id, reason));
        });
        Self { id, what, classifier: Arc::new(classifier), worker, _guard: guard }
    }

    /// A unit whose engine does nothing.
    #[cfg(test)]
    pub(super) fn idle(id: u64, what: Wanted, model: &Model) -> Self {
        let other = model.with_weights(&what.version, kiln_inference::model::Weights::new(Vec::new()));
        let (config, pool) = (kiln_classifier::batching::Config::default(), kiln_image::DecodePool::new(1));
        let (classifier, worker) = kiln_classifier::test_support::idle(other, config, pool);
        Self { id, what, classifier: Arc::new(classifier), worker, _guard: JoinSet::new() }
    }

    /// Has requests that are with it end as they would have, and then frees what it took.
    pub(super) async fn retire(self, host: ModelLoader) {
        let model = self.classifier.model().clone();
        drop(self.classifier);
        self.worker.retire().await;
        // A device that cannot is told of by those who use it.
        let _ = tokio::task::spawn_blocking(move || host.free_unused()).await;
        tracing::info!(model = model.spec().name, version = model.version(), "a version is unloaded");
    }

    /// Takes no more pictures, and ends when those in the queue are answered.
    pub(super) async fn shut_down(self) {
        drop(self.classifier);
        self.worker.shutdown().await;
    }
}

/// Which weights they are, where they came from the store.
fn weights(model: &Model) -> Option<String> {
    (!model.weights().is_embedded()).then(|| model.weights_digest())
}
