//! Kept answers.

use metrics::{Gauge, gauge};

use super::names::{CACHE_BYTES, CACHE_ENTRIES};

/// What came of looking for a kept answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// It was there.
    Hit,
    /// It had a run of its own, whose answer is kept if there is one.
    Miss,
    /// Another asked the same a moment before; both have one answer.
    Coalesced,
    /// The client wanted an answer of its own.
    Bypassed,
}

impl CacheOutcome {
    pub(super) const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Coalesced, Self::Bypassed];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::Bypassed => "bypassed",
        }
    }
}

/// Tells how much is kept. Cheap to clone. Made before a recorder is installed, it tells nobody.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    entries: Gauge,
    bytes: Gauge,
}

impl CacheMetrics {
    /// Nothing is kept yet.
    pub fn begin() -> Self {
        let metrics = Self { entries: gauge!(CACHE_ENTRIES.name), bytes: gauge!(CACHE_BYTES.name) };
        metrics.holds(0, 0);
        metrics
    }

    /// So many answers of so many bytes are kept.
    pub fn holds(&self, entries: u64, bytes: u64) {
        self.entries.set(entries as f64);
        self.bytes.set(bytes as f64);
    }
}
