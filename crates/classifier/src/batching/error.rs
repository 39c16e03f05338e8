//! Why a picture was not admitted, or was admitted and has no answer.

use std::time::Duration;

use kiln_inference::EngineError;

/// Why a picture was not let in. Two truths: it passes, or it does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// As many pictures are inside as may be. Nobody's fault; it passes.
    #[error("the queue is full; try again in {retry_after:?}")]
    Overloaded {
        /// When there should be room: an estimate, at least a second.
        retry_after: Duration,
    },
    /// As many pictures of this caller are inside as may be. It passes.
    #[error("{most} pictures of this caller are inside, which is its share of the queue")]
    ShareFull {
        /// How many may be.
        most: usize,
        /// When there should be room: an estimate, at least a second.
        retry_after: Duration,
    },
    /// The deadline would pass first, by what the engines have taken so far. Nobody's fault; it passes.
    #[error("an answer would take {expected:?}, longer than its deadline leaves")]
    TooLate {
        /// How long the answer would take.
        expected: Duration,
        /// When it could be had in time: an estimate, at least a second.
        retry_after: Duration,
    },
    /// The engines failed and are being replaced. It passes, or the process ends.
    #[error("the device failed and is being replaced")]
    Recovering,
    /// The batcher is shutting down, or its engine is broken. It stays so.
    #[error("the batcher takes no more pictures")]
    Closed,
}

/// Why an admitted picture has no answer. The fault is never the client's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The deadline passed before the engine had time for the picture; it was not run.
    #[error("the deadline passed after {queued:?} in the queue")]
    DeadlinePassed {
        /// How long the picture waited.
        queued: Duration,
        /// When the queue should be short again: an estimate, at least a second.
        retry_after: Duration,
    },
    /// The engine failed on the batch that the picture was in, or broke before the picture's turn.
    #[error(transparent)]
    Failed(#[from] EngineError),
    /// The device computes rightly, and what it computed for this picture is not finite: the model's weights do not do.
    #[error("the model's scores of this picture are not finite")]
    NotFinite,
    /// The engines failed while the picture waited; it was not run.
    #[error("the device failed and is being replaced")]
    Recovering,
    /// The batcher was shut down before it took the picture.
    #[error("the batcher takes no more pictures")]
    Closed,
}
