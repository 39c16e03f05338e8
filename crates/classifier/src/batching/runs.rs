//! The engines' runs since the start, counted by the size of the batch.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often something happened, and how long that took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// How often.
    pub count: u64,
    /// How long in all.
    pub total: Duration,
}

impl Timed {
    /// Once more.
    pub fn add(&mut self, took: Duration) {
        self.count += 1;
        self.total += took;
    }
}

/// Runs that ended with rows.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<BTreeMap<usize, Timed>>);

impl Runs {
    pub(super) fn record(&self, batch_size: usize, took: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(batch_size).or_default().add(took);
    }

    pub(super) fn by_batch_size(&self) -> BTreeMap<usize, Timed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
