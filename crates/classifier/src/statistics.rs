//! What one model has been asked and has answered since the start, as Triton's statistics extension counts it, for that
//! extension and for the metrics of the same name.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::ClassifyError;
use crate::batching::{BatchError, Timed};
use kiln_runtime::telemetry::metrics::{FailureReason, ModelMetrics, RequestDurations};
use kiln_runtime::telemetry::{Phase, PhaseTimings};

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// When the last request was answered.
    pub last: Option<SystemTime>,
    /// Rows that were answered.
    pub rows: u64,
    /// Requests that were answered.
    pub success: Timed,
    /// Requests that were not.
    pub fail: Timed,
    /// Of those that were answered: waiting, for a decode thread and for an engine.
    pub queue: Timed,
    /// The same: decoding and resizing.
    pub input: Timed,
    /// The same: the engine's work on the batch.
    pub infer: Timed,
    /// The same: ranking and labels.
    pub output: Timed,
    /// The engine's runs by the size of the batch.
    pub runs: BTreeMap<usize, Timed>,
}

/// Counts. All requests of one model share it.
#[derive(Debug)]
pub(super) struct Statistics {
    counts: Mutex<Snapshot>,
    metrics: ModelMetrics,
}

/// A request under way. Dropped before its end, it is one whose client went away.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    statistics: &'a Statistics,
    rows: usize,
    started: Instant,
    ended: bool,
}

impl Statistics {
    pub(super) fn new(metrics: ModelMetrics) -> Self {
        Self { counts: Mutex::default(), metrics }
    }

    /// A request of so many rows begins.
    pub(super) fn begin(&self, rows: usize) -> Asked<'_> {
        self.begun(rows, Instant::now())
    }

    fn begun(&self, rows: usize, started: Instant) -> Asked<'_> {
        Asked { statistics: self, rows, started, ended: false }
    }

    pub(super) fn snapshot(&self, runs: BTreeMap<usize, Timed>) -> Snapshot {
        Snapshot { runs, ..self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }

    fn succeeded(&self, rows: usize, took: Duration, timings: PhaseTimings) {
        let input = timings[Phase::Decode] + timings[Phase::Preprocess];
        let (infer, output) = (timings[Phase::Device], timings[Phase::Postprocess]);
        // Whatever else it waited for, so that the parts add up to the whole.
        let queue = took.saturating_sub(input + infer + output);
        self.metrics.request_succeeded(RequestDurations { request: took, queue, input, infer, output });
        let mut all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        all.last = Some(SystemTime::now());
        all.rows += rows as u64;
        all.success.add(took);
        all.queue.add(queue);
        all.input.add(input);
        all.infer.add(infer);
        all.output.add(output);
    }

    fn failed(&self, took: Duration, why: FailureReason) {
        self.metrics.request_failed(why);
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).fail.add(took);
    }
}

impl Asked<'_> {
    /// It ends with an answer that has those timings, or without one.
    pub(super) fn end(mut self, outcome: Result<PhaseTimings, &ClassifyError>) {
        self.ended = true;
        let took = self.started.elapsed();
        match outcome {
            Ok(timings) => self.statistics.succeeded(self.rows, took, timings),
            Err(error) => self.statistics.failed(took, rejection(error)),
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.statistics.failed(self.started.elapsed(), FailureReason::Canceled);
        }
    }
}

fn rejection(error: &ClassifyError) -> FailureReason {
    match error {
        ClassifyError::Image(_) => FailureReason::Other,
        ClassifyError::Batch(BatchError::Failed(_) | BatchError::NotFinite) | ClassifyError::Pool(_) => {
            FailureReason::Backend
        }
        ClassifyError::Admit(_) | ClassifyError::Batch(_) => FailureReason::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_answered_request_add_up_and_others_count_as_failed() {
        let statistics = Statistics::new(ModelMetrics::new("model", "1"));
        let ms = Duration::from_millis;
        let timings = PhaseTimings::from_iter([
            (Phase::Decode, ms(2)),
            (Phase::Preprocess, ms(1)),
            (Phase::Device, ms(5)),
            (Phase::Postprocess, ms(1)),
        ]);
        let started = Instant::now().checked_sub(ms(20)).unwrap();
        statistics.begun(3, started).end(Ok(timings));
        statistics.begun(7, started).end(Err(&BatchError::Closed.into()));
        drop(statistics.begun(1, started));
        let all = statistics.snapshot(BTreeMap::new());
        assert_eq!((all.rows, all.success.count, all.fail.count, all.queue.count), (3, 1, 2, 1));
        assert_eq!(all.success.total, all.queue.total + all.input.total + all.infer.total + all.output.total);
        assert!(all.success.total >= ms(20) && all.infer.total == ms(5) && all.last.is_some());
    }
}
