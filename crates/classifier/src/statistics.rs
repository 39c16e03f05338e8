//! Measures requests: [`PhaseTimer`] measures the phases of one image; [`Statistics`] counts the requests of a model,
//! as Triton's statistics extension and its metrics do.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::batching::{BatchError, DurationStats};
use crate::prediction::ClassifyError;
use kiln_runtime::telemetry::metrics::{FailureReason, ModelMetrics, RequestDurations};
use kiln_runtime::telemetry::{Phase, PhaseTimings};

/// Measures the phases of one image. They have no gaps, so they add up to the whole time.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhaseTimer {
    started: Instant,
    timings: PhaseTimings,
}

impl PhaseTimer {
    /// Starts when the classifier receives the image. The request began at `arrived`, or begins now.
    pub(super) fn start(arrived: Option<Instant>) -> Self {
        let now = Instant::now();
        let started = arrived.unwrap_or(now);
        Self { started, timings: PhaseTimings::from_iter([(Phase::Receive, now - started)]) }
    }

    /// Returns when the request began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Ends a phase that began when the previous one ended.
    pub(super) fn end(&mut self, phase: Phase) {
        self.timings[phase] = self.started.elapsed().saturating_sub(self.timings.total());
    }

    /// Adds a duration that was measured elsewhere.
    pub(super) fn add(&mut self, phase: Phase, duration: Duration) {
        self.timings[phase] += duration;
    }

    /// Ends the last phase and returns all phases.
    pub(super) fn finish(mut self) -> PhaseTimings {
        self.end(Phase::Postprocess);
        self.timings
    }
}

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatisticsSnapshot {
    /// When the last successful request ended.
    pub last_success: Option<SystemTime>,
    /// Rows of successful requests.
    pub rows: u64,
    /// Successful requests.
    pub success: DurationStats,
    /// Failed requests.
    pub fail: DurationStats,
    /// Successful requests: waiting for a decode thread and for an engine.
    pub queue: DurationStats,
    /// Successful requests: decoding and resizing.
    pub input: DurationStats,
    /// Successful requests: the engine's work on the batch.
    pub infer: DurationStats,
    /// Successful requests: ranking and labels.
    pub output: DurationStats,
    /// The engines' runs by batch size.
    pub batches: BTreeMap<usize, DurationStats>,
}

/// Counts the requests of one model.
#[derive(Debug)]
pub(super) struct Statistics {
    counts: Mutex<StatisticsSnapshot>,
    metrics: ModelMetrics,
}

/// Counts one request. If it is dropped before [`RequestTracker::finish`], the request was cancelled.
#[derive(Debug)]
pub(super) struct RequestTracker<'a> {
    statistics: &'a Statistics,
    rows: usize,
    started: Instant,
    finished: bool,
}

impl Statistics {
    pub(super) fn new(metrics: ModelMetrics) -> Self {
        Self { counts: Mutex::default(), metrics }
    }

    /// Begins a request with `rows` rows.
    pub(super) fn begin(&self, rows: usize) -> RequestTracker<'_> {
        self.begin_at(rows, Instant::now())
    }

    fn begin_at(&self, rows: usize, started: Instant) -> RequestTracker<'_> {
        RequestTracker { statistics: self, rows, started, finished: false }
    }

    pub(super) fn snapshot(&self, batches: BTreeMap<usize, DurationStats>) -> StatisticsSnapshot {
        StatisticsSnapshot { batches, ..self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }

    fn record_success(&self, rows: usize, request: Duration, timings: &PhaseTimings) {
        let input = timings[Phase::Decode] + timings[Phase::Preprocess];
        let (infer, output) = (timings[Phase::Device], timings[Phase::Postprocess]);
        // The rest of the time, so that the parts add up to the whole.
        let queue = request.saturating_sub(input + infer + output);
        self.metrics.request_succeeded(RequestDurations { request, queue, input, infer, output });
        let mut all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        all.last_success = Some(SystemTime::now());
        all.rows += rows as u64;
        all.success.record(request);
        all.queue.record(queue);
        all.input.record(input);
        all.infer.record(infer);
        all.output.record(output);
    }

    fn record_failure(&self, request: Duration, reason: FailureReason) {
        self.metrics.request_failed(reason);
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).fail.record(request);
    }
}

impl RequestTracker<'_> {
    /// Ends the request, either with the timings of its result or with an error.
    pub(super) fn finish(mut self, outcome: Result<PhaseTimings, &ClassifyError>) {
        self.finished = true;
        let request = self.started.elapsed();
        match outcome {
            Ok(timings) => self.statistics.record_success(self.rows, request, &timings),
            Err(error) => self.statistics.record_failure(request, failure_reason(error)),
        }
    }
}

impl Drop for RequestTracker<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.statistics.record_failure(self.started.elapsed(), FailureReason::Canceled);
        }
    }
}

fn failure_reason(error: &ClassifyError) -> FailureReason {
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
    fn phases_have_no_gaps() {
        let ms = Duration::from_millis;
        let arrived = Instant::now().checked_sub(ms(50)).unwrap();
        let mut timer = PhaseTimer::start(Some(arrived));
        for phase in [Phase::DecodeWait, Phase::Decode, Phase::Preprocess, Phase::Queue] {
            timer.end(phase);
        }
        for (phase, took) in [(Phase::Queue, ms(1)), (Phase::BatchWait, ms(2)), (Phase::Device, ms(3))] {
            timer.add(phase, took);
        }
        let timings = timer.finish();
        assert!(timings[Phase::Receive] >= ms(50) && timings[Phase::Queue] >= ms(1), "{timings:?}");
        assert_eq!((timings[Phase::BatchWait], timings[Phase::Device]), (ms(2), ms(3)));
        assert_eq!(timings.iter().map(|(_, took)| took).sum::<Duration>(), timings.total());
        assert!(timings.total() >= ms(56) && timings.total() <= arrived.elapsed() + ms(6), "{timings:?}");
    }

    #[test]
    fn durations_add_up_and_errors_and_cancelled_requests_count_as_failed() {
        let statistics = Statistics::new(ModelMetrics::new("model", "1"));
        let ms = Duration::from_millis;
        let timings = PhaseTimings::from_iter([
            (Phase::Decode, ms(2)),
            (Phase::Preprocess, ms(1)),
            (Phase::Device, ms(5)),
            (Phase::Postprocess, ms(1)),
        ]);
        let started = Instant::now().checked_sub(ms(20)).unwrap();
        statistics.begin_at(3, started).finish(Ok(timings));
        statistics.begin_at(7, started).finish(Err(&BatchError::Closed.into()));
        drop(statistics.begin_at(1, started));
        let all = statistics.snapshot(BTreeMap::new());
        assert_eq!((all.rows, all.success.count, all.fail.count, all.queue.count), (3, 1, 2, 1));
        assert_eq!(all.success.total, all.queue.total + all.input.total + all.infer.total + all.output.total);
        assert!(all.success.total >= ms(20) && all.infer.total == ms(5) && all.last_success.is_some());
    }
}
