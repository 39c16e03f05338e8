//! Another version that sees what the first one answers, and is only compared with it. It works on one picture at a time, with
//! the lowest priority, and begins only while an engine of the first version has nothing to do: real requests do not wait in a
//! queue for it, but one that comes a moment later shares the device with it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Class, Classifier};
use crate::batching::{Ask, Batcher, Priority, Terms};
use kiln_inference::{Output, Sample, top};
use kiln_inference::model::Model;
use kiln_runtime::telemetry::metrics;

/// The version that is compared. Clones have one turn together.
#[derive(Clone, Debug)]
pub(super) struct Shadow {
    model: Model,
    batcher: Batcher,
    turn: Arc<Semaphore>,
}

/// A picture that the shadow is to see once it is answered.
#[derive(Debug)]
pub(super) struct Seen {
    shadow: Shadow,
    sample: Sample,
    _turn: OwnedSemaphorePermit,
}

impl Classifier {
    /// The same with its answers compared with those of `other`, a version of the same model on the same devices, while an
    /// engine is free.
    pub fn shadowed_by(&self, other: &Self) -> Self {
        let (model, batcher) = (other.model.clone(), other.batcher.clone());
        Self { shadow: Some(Shadow { model, batcher, turn: Arc::new(Semaphore::new(1)) }), ..self.clone() }
    }
}

impl Shadow {
    /// Takes a copy of a picture that is about to run, if the shadow is through with the last one.
    pub(super) fn see(&self, sample: &Sample) -> Option<Seen> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().ok()?;
        Some(Seen { shadow: self.clone(), sample: sample.clone(), _turn: turn })
    }
}

impl Seen {
    /// Asks the shadow too, unless others wait for an engine, and counts whether it agrees. Does not wait for it.
    pub(super) fn compare(self, answered_by: &Batcher, top: Option<&Class>) {
        let Some(class_id) = top.map(|class| class.class_id).filter(|_| answered_by.is_idle()) else { return };
        tokio::spawn(async move {
            if let Some(other) = self.shadow.top(self.sample).await {
                let Shadow { model, .. } = &self.shadow;
                metrics::shadow_compared(model.spec().name, model.version(), other == class_id);
            }
        });
    }
}

impl Shadow {
    /// The most probable class; nothing where it has no time, or fails.
    async fn top(&self, sample: Sample) -> Option<usize> {
        let priority = Priority::Low;
        let permit = self.batcher.admit(&Ask { priority, ..Ask::default() }).ok()?;
        let terms = Terms { priority, deadline: None, top_k: Some(1) };
        match self.batcher.submit(permit, sample, terms).await.ok()?.output {
            Output::Logits(logits) => top(&logits),
            Output::Ranked(ranked) => ranked.first().map(|best| best.class_id),
        }
    }
}
