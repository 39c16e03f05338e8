//! What all classifiers of a process have together, and how engines become one of them.

use std::sync::Arc;

use kiln_classifier::batching::{self, Batcher, Worker};
use kiln_classifier::{Answers, Classifier};
use crate::config::Config;
use kiln_feedback as feedback;
use kiln_image::{DecodePool, Limits};
use kiln_inference::BurnEngine;
use kiln_inference::model::Model;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;

/// Decode threads, limits, kept answers and what is recorded. Cheap to clone; clones share them.
#[derive(Clone)]
pub(in crate::app) struct Shared {
    batching: batching::Config,
    pool: DecodePool,
    limits: Arc<Limits>,
    answers: Option<Answers>,
    /// What takes predictions down, if anything does.
    recorded: Option<feedback::FeedbackStore>,
}

impl Shared {
    /// Predictions go to `recorded`, if there is such a place.
    pub(super) fn new(config: &Config, recorded: Option<feedback::FeedbackStore>) -> Self {
        Self {
            batching: config.batching.clone(),
            pool: DecodePool::new(config.decode_threads),
            limits: Arc::new(config.image.clone()),
            answers: (config.cache_bytes > 0).then(|| Answers::new(config.cache_bytes)),
            recorded,
        }
    }

    /// Gives a model's engines a queue. Needs a tokio runtime.
    pub(in crate::app) fn queue(
        &self,
        model: Model,
        engines: Vec<BurnEngine>,
        readiness: Readiness,
        metrics: ModelMetrics,
    ) -> (Classifier, Worker) {
        let placements = engines.iter().map(BurnEngine::placement).collect();
        // All of them, or the batcher could not give any picture to any engine.
        let largest =
            engines.iter().map(BurnEngine::largest_cutout).reduce(|one, other| one.zip(other).map(|(a, b)| a.min(b)));
        let engines = engines.into_iter().flat_map(BurnEngine::workers).collect();
        let (batcher, worker) = Batcher::start(self.batching.clone(), engines, readiness, metrics);
        let (limits, pool) = (Arc::clone(&self.limits), self.pool.clone());
        let mut classifier = Classifier::new(model, placements, limits, pool, batcher);
        if let Some(bytes) = largest.flatten() {
            classifier = classifier.resizing(bytes);
        }
        if let Some(answers) = &self.answers {
            classifier = classifier.keeping(answers.clone());
        }
        if let Some(recorded) = &self.recorded {
            let (model, spec) = (classifier.model(), classifier.model().spec());
            let labels = spec.labels.iter().map(ToString::to_string).collect();
            let identity = feedback::ModelIdentity::new(spec.name, model.version(), &model.digest(), labels);
            let recorder = recorded.recorder(identity);
            classifier = classifier.recording(recorder);
        }
        (classifier, worker)
    }
}
