//! One batch on its way through the engine: the pictures, and who gets which row.

use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Caller, Entry};
use super::{Answer, BatchError};
use kiln_inference::{EngineError, Output, Sample};
use kiln_runtime::telemetry::metrics;
use kiln_runtime::telemetry::traces::SpanLink;

/// Pictures and their callers, in the same order.
#[derive(Debug)]
pub(super) struct Batch {
    samples: Vec<Sample>,
    callers: Vec<Caller>,
    /// Since when an engine had been free for them.
    free_since: Instant,
    top_k: Option<usize>,
}

impl Batch {
    pub(super) fn new(entries: Vec<Entry>, free_since: Instant) -> Self {
        // As many as the one who wants most; all if anybody wants all.
        let top_k =
            entries.iter().map(|entry| entry.terms.top_k).reduce(|one, other| one.zip(other).map(|(a, b)| a.max(b)));
        let (samples, callers) = entries.into_iter().map(|entry| (entry.sample, entry.caller)).unzip();
        Self { samples, callers, free_since, top_k: top_k.flatten() }
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// How many classes are of interest, if not all of them.
    pub(super) fn top_k(&self) -> Option<usize> {
        self.top_k
    }

    pub(super) fn len(&self) -> usize {
        self.callers.len()
    }

    /// Takes out what leads to the requests that the pictures came with, of those that are recorded.
    pub(super) fn take_links(&mut self) -> Vec<SpanLink> {
        self.callers.iter_mut().map(|caller| std::mem::take(&mut caller.link)).filter(SpanLink::is_recorded).collect()
    }

    /// How many rows have scores that are not finite, of those whose pictures Kiln has prepared itself.
    pub(super) fn not_finite(&self, rows: &[Output]) -> usize {
        self.samples.iter().zip(rows).filter(|(sample, row)| is_rubbish(sample, row)).count()
    }

    /// Gives each caller the row of its own picture. `rows` has as many rows as the batch pictures. The engine began at
    /// `started` and took `inference` for all of them.
    pub(super) fn answer(self, rows: Vec<Output>, started: Instant, inference: Duration) {
        debug_assert_eq!(rows.len(), self.callers.len());
        let batch_size = self.callers.len();
        for ((caller, sample), output) in self.callers.into_iter().zip(&self.samples).zip(rows) {
            if caller.has_gone() {
                metrics::cancelled("device");
            }
            if is_rubbish(sample, &output) {
                caller.answer(Err(BatchError::NotFinite));
                continue;
            }
            let noticed = caller.arrived.max(self.free_since);
            let (queue, batch_wait) = (noticed - caller.arrived, started.duration_since(noticed));
            caller.answer(Ok(Answer { output, queue, batch_wait, inference, batch_size }));
        }
    }

    /// Tells every caller that the engine failed.
    pub(super) fn fail(self, error: &EngineError) {
        for caller in self.callers {
            caller.answer(Err(BatchError::Failed(error.clone())));
        }
    }
}

/// A client's tensor may well be rubbish itself.
fn is_rubbish(sample: &Sample, row: &Output) -> bool {
    !matches!(sample, Sample::Tensor(_)) && !row.is_finite()
}
