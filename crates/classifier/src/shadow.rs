//! A shadow version: it runs some of the images of the stable version, and only its predictions are compared.
//!
//! The shadow runs one image at a time, with the lowest priority, and starts only while an engine of the stable version
//! is idle. So no request waits in a queue for the shadow, but a request that arrives shortly after shares the device
//! with it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::batching::Batcher;
use crate::options::RequestOptions;
use kiln_inference::model::Model;
use kiln_inference::{Output, Sample, argmax};
use kiln_runtime::scheduling::Priority;
use kiln_runtime::telemetry::metrics;

/// The shadow version. Clones together run one image at a time.
#[derive(Clone, Debug)]
pub(super) struct Shadow {
    model: Model,
    batcher: Batcher,
    turn: Arc<Semaphore>,
}

/// A copy of an image that the shadow runs after the stable version.
#[derive(Debug)]
pub(super) struct ShadowComparison {
    shadow: Shadow,
    sample: Sample,
    _turn: OwnedSemaphorePermit,
}

impl Shadow {
    /// Creates a shadow that runs `model` on `batcher`.
    pub(super) fn new(model: Model, batcher: Batcher) -> Self {
        Self { model, batcher, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Copies an image that is about to run, unless the shadow still runs another one.
    pub(super) fn reserve(&self, sample: &Sample) -> Option<ShadowComparison> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().ok()?;
        Some(ShadowComparison { shadow: self.clone(), sample: sample.clone(), _turn: turn })
    }

    /// Returns the most probable class of an image, or nothing if the shadow rejects the image or fails.
    async fn top_class(&self, sample: Sample) -> Option<usize> {
        let options = RequestOptions { priority: Priority::Low, top_k: Some(1), ..RequestOptions::default() };
        let admitted = self.batcher.admit(&options).ok()?;
        match self.batcher.submit(admitted, sample, &options).await.ok()?.output {
            Output::Logits(logits) => argmax(&logits),
            Output::TopK(ranked) => ranked.first().map(|best| best.class_id),
        }
    }
}

impl ShadowComparison {
    /// Runs the image on the shadow in the background, and counts whether its most probable class is `class_id`.
    pub(super) fn start(self, class_id: usize) {
        tokio::spawn(async move {
            if let Some(other) = self.shadow.top_class(self.sample).await {
                let Shadow { model, .. } = &self.shadow;
                metrics::shadow_compared(model.name(), model.version(), other == class_id);
            }
        });
    }
}
