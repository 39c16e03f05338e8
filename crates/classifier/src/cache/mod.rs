//! A cache of responses, bounded in bytes. Concurrent requests with the same key share one computation (single flight).
//! The cache knows neither images nor models: a key is a digest, and a value reports its size.
//!
//! moka stores the values, but its `try_get_with` does not replace `single_flight`: here the next request takes over
//! if the leader is cancelled, each waiting request keeps its own deadline, and no request waits for one of another
//! priority.

mod single_flight;
#[cfg(test)]
mod tests;

use crate::options::RequestOptions;
use kiln_runtime::telemetry::metrics::{CacheMetrics, CacheOutcome};
use single_flight::{Role, SingleFlight};

/// A digest of everything that a response depends on. If two requests differ, their keys differ unless BLAKE3 collides,
/// even if a client chooses the inputs: no client may receive the response to another image.
pub type Key = [u8; 32];

/// The bytes that an entry takes in addition to its value, rounded up. Measured with a million entries.
const ENTRY_OVERHEAD: u64 = 400;

/// A value that reports its size.
pub trait Weight: Clone + Send + Sync + 'static {
    /// Returns the size in bytes.
    fn bytes(&self) -> usize;
}

/// A cache of values. Frequently requested values stay (moka's TinyLFU). Cheap to clone; clones share all entries.
pub struct Cache<V, E> {
    values: moka::future::Cache<Key, V>,
    flights: SingleFlight<(Key, u8), V, E>,
    metrics: CacheMetrics,
}

/// What the cache did for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    /// Whether the response was cached.
    pub outcome: CacheOutcome,
    /// Whether a computed response is in the cache afterwards. If a response is not requested often enough to replace
    /// others, it is not stored.
    pub stored: bool,
}

/// The status of a request that stored nothing.
impl From<CacheOutcome> for CacheStatus {
    fn from(outcome: CacheOutcome) -> Self {
        Self { outcome, stored: false }
    }
}

/// The result of a lookup.
#[derive(Debug)]
pub enum Lookup<V, X, E> {
    /// The value was cached, or another request computed it in the meantime.
    Found(V, CacheStatus),
    /// This request computed the value, and an extra that only concerns this request.
    Computed(V, X, CacheStatus),
    /// The computation failed: that of this request, or one of another request whose error applies to both.
    Failed(E),
    /// The deadline passed while another request computed the value.
    DeadlinePassed,
}

impl<V: Weight, E: Clone> Cache<V, E> {
    /// Creates an empty cache for at most `max_bytes` bytes.
    pub fn new(max_bytes: u64) -> Self {
        let weigher = |_: &Key, value: &V| u32::try_from(value.bytes() as u64 + ENTRY_OVERHEAD).unwrap_or(u32::MAX);
        let values = moka::future::Cache::builder().max_capacity(max_bytes).weigher(weigher).build();
        Self { values, flights: SingleFlight::default(), metrics: CacheMetrics::new() }
    }

    /// Returns the value of a key. If it is not cached, the first request runs `compute`. Concurrent requests with the
    /// same key and priority wait for its result, each until its own deadline. If the first request is cancelled, or
    /// fails with an error for which `is_shared` returns false, the next request runs its own `compute`.
    pub async fn get_or_compute<X>(
        &self,
        key: Key,
        options: &RequestOptions,
        compute: impl Future<Output = Result<(V, X), E>>,
        is_shared: impl Fn(&E) -> bool,
        mut outcome: OutcomeGuard<impl Fn(CacheOutcome)>,
    ) -> Lookup<V, X, E> {
        outcome.set(CacheOutcome::Hit);
        loop {
            if let Some(value) = self.values.get(&key).await {
                return Lookup::Found(value, outcome.get().into());
            }
            match self.flights.join((key, options.priority as u8)) {
                Role::Leader(leader) => {
                    outcome.set(CacheOutcome::Miss);
                    return match compute.await {
                        Ok((value, extra)) => {
                            let stored = self.store(key, value.clone()).await;
                            leader.complete(Ok(value.clone()));
                            Lookup::Computed(value, extra, CacheStatus { outcome: CacheOutcome::Miss, stored })
                        }
                        Err(error) => {
                            if is_shared(&error) {
                                leader.complete(Err(error.clone()));
                            }
                            Lookup::Failed(error)
                        }
                    };
                }
                Role::Follower(follower) => {
                    outcome.set(CacheOutcome::Coalesced);
                    let result = match options.deadline {
                        Some(deadline) => tokio::time::timeout_at(deadline, follower.wait()).await,
                        None => Ok(follower.wait().await),
                    };
                    match result {
                        Ok(Some(Ok(value))) => return Lookup::Found(value, CacheOutcome::Coalesced.into()),
                        Ok(Some(Err(error))) => return Lookup::Failed(error),
                        // The leader gave up, so the next request takes over.
                        Ok(None) => {}
                        Err(_) => return Lookup::DeadlinePassed,
                    }
                }
            }
        }
    }

    /// Stores a value. Returns whether it is in the cache afterwards.
    async fn store(&self, key: Key, value: V) -> bool {
        self.values.insert(key, value).await;
        // Run now and not with the next insertion, so that the returned status and the metrics are exact.
        self.values.run_pending_tasks().await;
        self.metrics.set_size(self.values.entry_count(), self.values.weighted_size());
        self.values.contains_key(&key)
    }
}

/// Counts the outcome of one request when it is dropped, so that cancelled requests are counted too.
#[derive(Debug)]
pub struct OutcomeGuard<F: Fn(CacheOutcome)> {
    outcome: CacheOutcome,
    count: F,
}

impl<F: Fn(CacheOutcome)> OutcomeGuard<F> {
    /// Creates a guard that counts a miss, unless it is passed to [`Cache::get_or_compute`].
    pub fn new(count: F) -> Self {
        Self { outcome: CacheOutcome::Miss, count }
    }

    fn get(&self) -> CacheOutcome {
        self.outcome
    }

    fn set(&mut self, outcome: CacheOutcome) {
        self.outcome = outcome;
    }
}

impl<F: Fn(CacheOutcome)> Drop for OutcomeGuard<F> {
    fn drop(&mut self) {
        (self.count)(self.outcome);
    }
}

impl<V, E> std::fmt::Debug for Cache<V, E> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<V, E> Clone for Cache<V, E> {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), flights: self.flights.clone(), metrics: self.metrics.clone() }
    }
}
