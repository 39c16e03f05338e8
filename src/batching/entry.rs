//! One picture in the queue with everything it needs to be answered, and the answer itself.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::state::Queued;
use super::{BatchError, Permit};
use crate::inference::{Logits, Sample};

/// What a picture's caller gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The picture's own row of raw scores.
    pub logits: Logits,
    /// From the submission to the composition of the picture's batch.
    pub queue: Duration,
    /// The time that the engine took for the whole batch.
    pub inference: Duration,
    /// How many pictures were in the batch.
    pub batch_size: usize,
}

/// Which pictures an engine takes first. Those of one priority keep the order in which they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before all others.
    High,
    /// Where nothing was asked for.
    #[default]
    Normal,
    /// When no other waits.
    Low,
}

/// A picture that waits for the engine.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) priority: Priority,
    pub(super) sample: Sample,
    pub(super) caller: Caller,
    pub(super) deadline: Option<Instant>,
}

/// The one who waits for a picture's answer.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) reply: oneshot::Sender<Result<Answer, BatchError>>,
    pub(super) permit: Permit,
    pub(super) arrived: Instant,
}

impl Caller {
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
        self.priority
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn is_cancelled(&self) -> bool {
        self.caller.reply.is_closed()
    }
}
