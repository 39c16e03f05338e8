//! One batch on its way through the engine: the pictures, and who gets which row.

use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Caller, Entry};
use super::{Answer, BatchError};
use crate::image::PreparedImage;
use crate::inference::{EngineError, Logits};

/// Pictures and their callers, in the same order.
#[derive(Debug)]
pub(super) struct Batch {
    images: Vec<PreparedImage>,
    callers: Vec<Caller>,
    composed: Instant,
}

impl Batch {
    pub(super) fn new(entries: Vec<Entry>, composed: Instant) -> Self {
        let (images, callers) = entries.into_iter().map(|entry| (entry.image, entry.caller)).unzip();
        Self { images, callers, composed }
    }

    pub(super) fn images(&self) -> &[PreparedImage] {
        &self.images
    }

    pub(super) fn len(&self) -> usize {
        self.callers.len()
    }

    /// Gives each caller the row of its own picture. `rows` has as many rows as the batch pictures.
    pub(super) fn answer(self, rows: Vec<Logits>, inference: Duration) {
        debug_assert_eq!(rows.len(), self.callers.len());
        let batch_size = self.callers.len();
        for (caller, logits) in self.callers.into_iter().zip(rows) {
            let queue = self.composed.duration_since(caller.arrived);
            caller.answer(Ok(Answer { logits, queue, inference, batch_size }));
        }
    }

    /// Tells every caller that the engine failed.
    pub(super) fn fail(self, error: &EngineError) {
        for caller in self.callers {
            caller.answer(Err(BatchError::Failed(error.clone())));
        }
    }
}
