//! A classifier without a network, for tests of this crate and of those above it.

use std::sync::Arc;

use kiln_image::DecodePool;
use kiln_inference::model::Model;
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;

use crate::Classifier;
use crate::batching::{self, Batcher, Worker};

/// An engine that returns the same logits for each image.
struct ConstantEngine(Logits);

impl Engine for ConstantEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        Ok(batch.iter().map(|_| self.0.clone()).collect())
    }
}

/// Returns a classifier on an engine that returns one logit, and the worker that owns that engine.
pub fn idle(model: Model, config: batching::Config, pool: DecodePool) -> (Classifier, Worker) {
    constant(model, &[0.0], config, pool)
}

/// Returns a classifier on an engine that returns `logits` for each image, and the worker that owns that engine.
pub fn constant(model: Model, logits: &[f32], config: batching::Config, pool: DecodePool) -> (Classifier, Worker) {
    let engine = ConstantEngine(logits.into());
    let metrics = ModelMetrics::new("model", "1");
    let started = Batcher::start(config, vec![Box::new(engine)], Readiness::starting(), metrics);
    let (batcher, worker) = started.expect("the system has a thread for the engine");
    (Classifier::new(model, Vec::new(), Arc::default(), pool, batcher), worker)
}
