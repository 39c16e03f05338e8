//! The scheduling class of a request: its priority in the queue, and the caller's share of the queue.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The order in which engines take images from the queue. Images of one priority keep their order of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Runs before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// Runs if no image of a higher priority waits.
    Low,
}

impl Priority {
    /// All priorities, the highest first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Returns `high`, `normal` or `low`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|priority| priority.as_str() == text);
        known.ok_or_else(|| format!("invalid priority '{text}': must be high, normal or low"))
    }
}

/// The fraction of the queue that one caller may occupy. Clones share one count.
#[derive(Clone, Debug)]
pub struct QueueShare {
    /// Greater than 0, at most 1.
    pub fraction: f64,
    /// The number of the caller's images that are in flight, over all models.
    pub in_flight: Arc<AtomicUsize>,
}

impl QueueShare {
    /// Counts one more image until the guard is dropped.
    ///
    /// # Errors
    ///
    /// Returns the limit if the caller has that many images in flight.
    pub fn acquire(&self, capacity: usize) -> Result<QueueShareGuard, usize> {
        let limit = self.limit(capacity);
        let guard = QueueShareGuard(Arc::clone(&self.in_flight));
        if self.in_flight.fetch_add(1, Ordering::Relaxed) < limit { Ok(guard) } else { Err(limit) }
    }

    /// Returns the limit if the caller has that many images in flight.
    pub fn reached_limit(&self, capacity: usize) -> Option<usize> {
        let limit = self.limit(capacity);
        (self.in_flight.load(Ordering::Relaxed) >= limit).then_some(limit)
    }

    /// Returns the maximum number of images: at least one, so that a small queue excludes no caller.
    fn limit(&self, capacity: usize) -> usize {
        ((self.fraction * capacity as f64).floor() as usize).max(1)
    }
}

/// Counts one image of a [`QueueShare`] until it is dropped.
#[derive(Debug)]
pub struct QueueShareGuard(Arc<AtomicUsize>);

impl Drop for QueueShareGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
