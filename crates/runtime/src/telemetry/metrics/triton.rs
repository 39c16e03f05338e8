//! What a version does in the terms of Triton's own metrics, for dashboards and autoscalers that read those already.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter, gauge};

use super::names::{self as n, Metric};
use super::part::Part;

/// Why a request had no answer, in Triton's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There was no room or no time for it.
    Rejected,
    /// Its client went away.
    Canceled,
    /// The engine failed.
    Backend,
    /// Whatever else: mostly a picture that is none.
    Other,
}

impl Rejection {
    const ALL: [Self; 4] = [Self::Rejected, Self::Canceled, Self::Backend, Self::Other];

    fn word(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Canceled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

/// Durations of one answered request, as Triton divides them.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// All of it.
    pub request: Duration,
    /// Waiting.
    pub queue: Duration,
    /// Decoding and resizing.
    pub input: Duration,
    /// The engine.
    pub infer: Duration,
    /// Ranking and labels.
    pub output: Duration,
}

/// The series of one version.
#[derive(Debug)]
pub(super) struct Triton {
    success: Counter,
    failures: [Counter; 4],
    count: Counter,
    exec_count: Counter,
    request: Counter,
    queue: Counter,
    input: Counter,
    infer: Counter,
    output: Counter,
    pending: Part,
}

impl Triton {
    pub(super) fn new(model: &'static str, version: &str) -> Self {
        let version: Arc<str> = version.into();
        let count = |metric: Metric| counter!(metric.name, "model" => model, "version" => Arc::clone(&version));
        let failures = |why: Rejection| counter!(n::NV_FAILURE.name, "model" => model, "version" => Arc::clone(&version), "reason" => why.word());
        let all = Self {
            success: count(n::NV_SUCCESS),
            failures: Rejection::ALL.map(failures),
            count: count(n::NV_COUNT),
            exec_count: count(n::NV_EXEC_COUNT),
            request: count(n::NV_REQUEST_US),
            queue: count(n::NV_QUEUE_US),
            input: count(n::NV_INPUT_US),
            infer: count(n::NV_INFER_US),
            output: count(n::NV_OUTPUT_US),
            pending: Part::new(gauge!(n::NV_PENDING.name, "model" => model, "version" => Arc::clone(&version))),
        };
        // From zero on.
        all.failures.iter().chain([&all.success]).for_each(|counter| counter.increment(0));
        all
    }

    /// A request was answered.
    pub(super) fn answered(&self, shares: Shares) {
        let us = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let Shares { request, queue, input, infer, output } = shares;
        self.success.increment(1);
        self.request.increment(us(request));
        self.queue.increment(us(queue));
        self.input.increment(us(input));
        self.infer.increment(us(infer));
        self.output.increment(us(output));
    }

    /// A request was not answered.
    pub(super) fn failed(&self, why: Rejection) {
        self.failures[why as usize].increment(1);
    }

    /// A batch of so many pictures was run.
    pub(super) fn ran(&self, pictures: usize) {
        self.count.increment(pictures as u64);
        self.exec_count.increment(1);
    }

    /// So many pictures wait for an engine.
    pub(super) fn pending(&self, pictures: usize) {
        self.pending.set(pictures);
    }
}
