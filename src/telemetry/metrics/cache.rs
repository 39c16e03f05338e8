//! Kept answers.

use metrics::gauge;

use super::names::{CACHE_BYTES, CACHE_ENTRIES};

/// What came of looking for a kept answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// It was there.
    Hit,
    /// It was made, and is kept.
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

/// So many answers of so many bytes are kept.
pub fn cache_holds(entries: u64, bytes: u64) {
    gauge!(CACHE_ENTRIES.name).set(entries as f64);
    gauge!(CACHE_BYTES.name).set(bytes as f64);
}
