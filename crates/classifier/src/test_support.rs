//! A classifier without a network, for tests of this crate and of those above it.

use std::sync::Arc;

use kiln_image::DecodePool;
use kiln_inference::model::Model;
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;

use crate::Classifier;
use crate::batching::{self, Batcher, Worker};

/// An engine that returns one logit per image.
struct IdleEngine;

impl Engine for IdleEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        Ok(batch.iter().map(|_| Logits::from([0.0])).collect())
    }
}

/// Returns a classifier on an idle engine, and the worker that owns that engine.
pub fn idle(model: Model, config: batching::Config, pool: DecodePool) -> (Classifier, Worker) {
    let (batcher, worker) =
        Batcher::start(config, vec![Box::new(IdleEngine)], Readiness::starting(), ModelMetrics::new("model", "1"));
    (Classifier::new(model, Vec::new(), Arc::default(), pool, batcher), worker)
}
