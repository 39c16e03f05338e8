//! How a caller stands beside others in the queue: whose pictures go first, and how many of his may be inside. Who gets what is
//! for others to say, and what it leads to too.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// A caller's part of the queue. Clones count together.
#[derive(Clone, Debug)]
pub struct Share {
    /// Above 0, at most 1.
    pub fraction: f64,
    /// How many of the caller's pictures are inside now, of all models together.
    pub inside: Arc<AtomicUsize>,
}

/// One of the caller's pictures, until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<AtomicUsize>);

impl Share {
    /// Counts one more picture.
    ///
    /// # Errors
    ///
    /// As many as may be are inside, and that many they are.
    pub fn hold(&self, capacity: usize) -> Result<Held, usize> {
        // Of a small queue everybody may have a place.
        let most = ((self.fraction * capacity as f64).floor() as usize).max(1);
        let held = Held(Arc::clone(&self.inside));
        if self.inside.fetch_add(1, Ordering::Relaxed) < most { Ok(held) } else { Err(most) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Priority {
    /// `high`, `normal` or `low`.
    pub fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = [Self::High, Self::Normal, Self::Low].into_iter().find(|priority| priority.word() == word);
        known.ok_or_else(|| format!("priority is '{word}'; it has to be high, normal or low"))
    }
}
