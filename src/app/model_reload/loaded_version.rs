//! A loaded version: its classifier, its batching worker, and the watch on its failure.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use super::super::load::{LoadError, ModelLoader, join};
use super::desired_state::VersionSpec;
use crate::model_store::ModelStore;
use kiln_classifier::Classifier;
use kiln_classifier::batching::Worker;
use kiln_inference::model::Model;
use kiln_inference::{BurnEngine, Step};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;

/// The id of a failed version and the reason.
pub(super) type VersionFailure = (u64, String);

/// A version with started engines, which have no queue yet.
pub(in crate::app) type StartedVersion = (Model, Vec<BurnEngine>);

/// A loaded version.
pub(in crate::app) struct LoadedVersion {
    /// Unique in the process.
    pub(super) id: u64,
    pub(super) spec: VersionSpec,
    pub(in crate::app) classifier: Arc<Classifier>,
    metrics: ModelMetrics,
    worker: Worker,
    /// The task that reports the failure of an optional version. It ends when this value is dropped.
    _failure_watch: JoinSet<()>,
}

/// Reads a version of a model, loads it on each device and warms it up, on a blocking thread.
pub(super) async fn start_version(
    loader: &ModelLoader,
    store: Option<&ModelStore>,
    model: &Model,
    version: &str,
    progress: fn(Step),
) -> Result<StartedVersion, LoadError> {
    let (loader, store, model, version) = (loader.clone(), store.cloned(), model.clone(), version.to_string());
    let work = move || {
        let model = match store {
            Some(store) => store.read(&model, &version)?,
            None => model,
        };
        let engines = loader.start_engines(&model, &progress)?;
        Ok((model, engines))
    };
    join(tokio::task::spawn_blocking(work).await)
}

impl LoadedVersion {
    /// Starts the batcher of a version whose failure stops the server.
    ///
    /// # Errors
    ///
    /// [`LoadError::EngineThread`].
    pub(super) fn required(
        loader: &ModelLoader,
        id: u64,
        (model, engines): StartedVersion,
        readiness: Readiness,
    ) -> Result<Self, LoadError> {
        let spec = VersionSpec::required(model.version(), weights_digest(&model));
        let metrics = ModelMetrics::new(model.name(), model.version());
        let (classifier, worker) = loader.resources.build_classifier(model, engines, readiness, metrics.clone())?;
        Ok(Self { id, spec, classifier: Arc::new(classifier), metrics, worker, _failure_watch: JoinSet::new() })
    }

    /// Starts the batcher of a version of the model repository, whose failure stops the server. Its id is not used.
    ///
    /// # Errors
    ///
    /// [`LoadError::EngineThread`].
    pub(in crate::app) fn of_repository(
        loader: &ModelLoader,
        started: StartedVersion,
        readiness: Readiness,
    ) -> Result<Self, LoadError> {
        Self::required(loader, 0, started, readiness)
    }

    /// Sets whether this is the stable version of its model, for the metrics.
    pub(in crate::app) fn set_stable(&self, is_stable: bool) {
        self.metrics.set_stable(is_stable);
    }

    /// Starts the batcher of a version whose failure is sent to `failures`; the server continues without the version.
    ///
    /// # Errors
    ///
    /// [`LoadError::EngineThread`].
    pub(super) fn optional(
        loader: &ModelLoader,
        id: u64,
        (model, engines): StartedVersion,
        server: &Readiness,
        failures: UnboundedSender<VersionFailure>,
    ) -> Result<Self, LoadError> {
        let spec = VersionSpec::optional(model.version(), weights_digest(&model));
        let readiness = server.optional();
        // The metrics of the devices belong to the stable version.
        let metrics = ModelMetrics::beside_stable(model.name(), model.version());
        let (classifier, worker) =
            loader.resources.build_classifier(model, engines, readiness.clone(), metrics.clone())?;
        let mut failure_watch = JoinSet::new();
        failure_watch.spawn(async move {
            let reason = readiness.wait_for_failure().await;
            // The receiver is closed during shutdown.
            let _ = failures.send((id, reason));
        });
        Ok(Self { id, spec, classifier: Arc::new(classifier), metrics, worker, _failure_watch: failure_watch })
    }

    /// Returns a version with an engine that does nothing.
    #[cfg(test)]
    pub(super) fn idle(id: u64, spec: VersionSpec, model: &Model) -> Self {
        let other = model.with_weights(&spec.version, kiln_inference::model::Weights::new(Vec::new()));
        let (config, pool) = (kiln_classifier::batching::Config::default(), kiln_image::DecodePool::new(1).unwrap());
        let metrics = ModelMetrics::new(other.name(), other.version());
        let (classifier, worker) = kiln_classifier::test_support::idle(other, config, pool);
        Self { id, spec, classifier: Arc::new(classifier), metrics, worker, _failure_watch: JoinSet::new() }
    }

    /// Waits until the requests that this version still processes are answered, and then frees its memory.
    pub(in crate::app) async fn retire(self, loader: ModelLoader) {
        let model = self.classifier.model().clone();
        drop(self.classifier);
        self.worker.retire().await;
        // A device that fails here is reported by the versions that still use it.
        let _ = tokio::task::spawn_blocking(move || loader.free_unused()).await;
        tracing::info!(model = model.name(), version = model.version(), "model version unloaded");
    }

    /// Accepts no more requests, and waits until those in the queue are answered.
    pub(in crate::app) async fn shut_down(self) {
        drop(self.classifier);
        self.worker.shutdown().await;
    }
}

/// Returns the digest of the weights if they came from the store.
fn weights_digest(model: &Model) -> Option<String> {
    model.weights().filter(|weights| !weights.is_embedded()).map(|_| model.weights_digest())
}
