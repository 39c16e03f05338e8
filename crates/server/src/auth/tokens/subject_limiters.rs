//! Rate limits of tokens: each subject has the limiter that a key with the same limit would have.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use moka::policy::EvictionPolicy;
use sha2::{Digest as _, Sha256};

use crate::auth::principal::{RateLimit, RequestRateLimiter};

/// Maximum number of subjects with a limiter of their own, which take about 40 MB. Beyond it, the subject that was idle for the
/// longest time loses its limiter, and has a full burst at its next request.
const MAX_SUBJECTS: u64 = 100_000;
/// Minimum time that an idle subject keeps its limiter.
const MIN_IDLE_TIME: Duration = Duration::from_secs(60);

/// The limiters of the subjects that sent requests recently.
#[derive(Debug)]
pub(super) struct SubjectLimiters {
    limit: RateLimit,
    /// By the digest of the subject, so that long subjects take no more memory.
    limiters: Cache<[u8; 32], Arc<RequestRateLimiter>>,
}

impl SubjectLimiters {
    /// Creates limiters with the same limit for each subject.
    pub(super) fn new(limit: RateLimit) -> Self {
        Self::with_capacity(limit, MAX_SUBJECTS)
    }

    fn with_capacity(limit: RateLimit, max_subjects: u64) -> Self {
        let limiters = Cache::builder()
            .max_capacity(max_subjects)
            .eviction_policy(EvictionPolicy::lru())
            // After this time the burst is full again, so a new limiter behaves as the removed one.
            .time_to_idle(limit.refill_time().max(MIN_IDLE_TIME))
            .build();
        Self { limit, limiters }
    }

    /// Returns the limiter of a subject (claim `sub`). The tokens without a subject share one limiter.
    ///
    /// A subject is unique for its issuer (RFC 7519, section 4.1.2), and all accepted tokens have the same issuer.
    pub(super) async fn limiter(&self, subject: Option<&str>) -> Arc<RequestRateLimiter> {
        let digest = Sha256::digest(subject.unwrap_or_default()).into();
        self.limiters.get_with(digest, async { Arc::new(RequestRateLimiter::new(self.limit)) }).await
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const LIMIT: RateLimit = RateLimit { per_second: 0.01, burst: NonZeroU32::MIN };

    #[tokio::test]
    async fn number_of_limiters_is_bounded_and_recent_subjects_keep_theirs() {
        let subjects = SubjectLimiters::with_capacity(LIMIT, 10);
        let first = subjects.limiter(Some("first")).await;
        for number in 0..1000 {
            subjects.limiter(Some(&number.to_string())).await;
            assert!(Arc::ptr_eq(&first, &subjects.limiter(Some("first")).await), "an active subject lost its limiter");
            subjects.limiters.run_pending_tasks().await;
            assert!(subjects.limiters.entry_count() <= 10);
        }
    }

    #[test]
    fn limiter_of_an_idle_subject_is_kept_until_its_burst_is_full() {
        let idle_time = |per_second, burst| {
            let limit = RateLimit { per_second, burst: NonZeroU32::new(burst).unwrap() };
            let policy = SubjectLimiters::new(limit).limiters.policy();
            assert_eq!(policy.max_capacity(), Some(MAX_SUBJECTS));
            policy.time_to_idle().unwrap()
        };
        assert_eq!(idle_time(0.01, 5), Duration::from_secs(500));
        assert_eq!(idle_time(1e6, 1), MIN_IDLE_TIME);
        // The longest refill that a configuration can have.
        let century = RateLimit::from_settings(Some(1.0), NonZeroU32::new(3_100_000_000)).unwrap().unwrap();
        assert_eq!(idle_time(century.per_second, century.burst.get()), century.refill_time());
    }
}
