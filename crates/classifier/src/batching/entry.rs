//! One picture in the queue with everything it needs to be answered, and the answer itself.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::state::Queued;
use super::{BatchError, Permit};
use kiln_inference::{Output, Sample};
use kiln_runtime::scheduling::Priority;
use kiln_runtime::telemetry::traces::SpanLink;

/// What a picture's caller gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What the engine found in the picture.
    pub output: Output,
    /// From the submission until an engine was free.
    pub queue: Duration,
    /// From then, or from the submission if one was free before, until the engine began: waiting for company, and for the
    /// engine's thread.
    pub batch_wait: Duration,
    /// The time that the engine took for the whole batch.
    pub inference: Duration,
    /// How many pictures were in the batch.
    pub batch_size: usize,
}

/// What a picture's caller asks for, apart from the answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Whether it goes before others.
    pub priority: Priority,
    /// From when on it is not run any more.
    pub deadline: Option<Instant>,
    /// If set, no more than so many classes are of interest; the answer may hold all the same.
    pub top_k: Option<usize>,
}

/// A picture that waits for the engine.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) terms: Terms,
    pub(super) sample: Sample,
    pub(super) caller: Caller,
}

/// The one who waits for a picture's answer.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) reply: oneshot::Sender<Result<Answer, BatchError>>,
    pub(super) permit: Permit,
    pub(super) arrived: Instant,
    /// To the request that the picture came with.
    pub(super) link: SpanLink,
}

impl Caller {
    /// Nobody waits for the answer any more.
    pub(super) fn has_gone(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers; a caller who has gone meanwhile is none the wiser.
    pub(super) fn answer(self, answer: Result<Answer, BatchError>) {
        // In this order, so that whoever has an answer finds room for the next picture.
        drop(self.permit);
        let _ = self.reply.send(answer);
    }
}

impl Queued for Entry {
    fn arrived(&self) -> Instant {
        self.caller.arrived
    }

    fn priority(&self) -> Priority {
        self.terms.priority
    }

    fn deadline(&self) -> Option<Instant> {
        self.terms.deadline
    }

    fn is_cancelled(&self) -> bool {
        self.caller.has_gone()
    }
}
