//! What the policy says: run these, wait or do nothing, and why. Plain data.

use tokio::time::Instant;

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision<E> {
    /// Run these entries, in this order, for that reason. Never empty.
    Dispatch(Vec<E>, Reason),
    /// Nothing, but ask again at this instant, even if nothing happens before.
    WaitUntil(Instant),
    /// Nothing until something happens.
    Idle,
}

/// Why a batch goes now and not later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There are as many as a batch may have.
    Full,
    /// An engine is free, and nobody is to wait for company.
    EngineFree,
    /// The first of them has waited for company as long as it may.
    DelayOver,
    /// One of them has no time to wait for company.
    Deadline,
    /// The server ends, so no company will come.
    Draining,
}

impl Reason {
    /// As the metrics have it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::EngineFree => "engine_free",
            Self::DelayOver => "delay_over",
            Self::Deadline => "deadline",
            Self::Draining => "draining",
        }
    }
}

/// Why an entry left the queue without being run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    Cancelled,
    DeadlinePassed,
}

/// A decision, and the entries that left the queue on the way to it.
#[derive(Debug)]
pub(super) struct Step<E> {
    pub(super) decision: Decision<E>,
    pub(super) dropped: Vec<(E, Dropped)>,
}
