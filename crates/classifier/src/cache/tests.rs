//! Which requests are answered from the cache, which requests share a computation, and which values are stored.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::{join, join3, pending};
use kiln_runtime::scheduling::Priority;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;

impl Weight for &'static str {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// Looks up strings. The extra of a computation is nothing.
struct TestCache {
    cache: Cache<&'static str, &'static str>,
    outcomes: Mutex<Vec<CacheOutcome>>,
}

type TestLookup = Lookup<&'static str, (), &'static str>;

impl TestCache {
    fn new(max_bytes: u64) -> Self {
        Self { cache: Cache::new(max_bytes), outcomes: Mutex::default() }
    }

    async fn get(
        &self,
        number: u8,
        options: &RequestOptions,
        compute: impl Future<Output = Result<&'static str, &'static str>>,
    ) -> TestLookup {
        // The only error that concerns all requests with the same key.
        let is_shared = |error: &&str| *error == "broken";
        let outcome = OutcomeGuard::new(|outcome| self.outcomes.lock().unwrap().push(outcome));
        let compute = async { compute.await.map(|value| (value, ())) };
        self.cache.get_or_compute([number; 32], options, compute, is_shared, outcome).await
    }

    /// Returns the outcomes that were counted since the last call, sorted.
    fn counted(&self) -> Vec<CacheOutcome> {
        let mut counted = std::mem::take(&mut *self.outcomes.lock().unwrap());
        counted.sort_by_key(|outcome| *outcome as usize);
        counted
    }
}

/// Returns the value and its status.
fn value(lookup: TestLookup) -> (&'static str, CacheStatus) {
    match lookup {
        Lookup::Found(value, status) => {
            assert!(matches!(status.outcome, CacheOutcome::Hit | CacheOutcome::Coalesced), "{status:?}");
            (value, status)
        }
        Lookup::Computed(value, (), status) => {
            assert_eq!(status.outcome, CacheOutcome::Miss);
            (value, status)
        }
        other => panic!("{other:?}"),
    }
}

fn value_and_outcome(lookup: TestLookup) -> (&'static str, CacheOutcome) {
    let (value, status) = value(lookup);
    (value, status.outcome)
}

#[tokio::test]
async fn value_is_computed_once_and_an_error_is_not_stored() {
    let (cache, options) = (TestCache::new(1 << 20), RequestOptions::default());
    let failed = cache.get(1, &options, async { Err("broken") }).await;
    assert!(matches!(failed, Lookup::Failed("broken")), "{failed:?}");
    for (computed, outcome) in [("first", CacheOutcome::Miss), ("second", CacheOutcome::Hit)] {
        let lookup = cache.get(1, &options, async { Ok(computed) }).await;
        assert_eq!(value_and_outcome(lookup), ("first", outcome));
    }
    let other = cache.get(2, &options, async { Ok("other") }).await;
    assert_eq!(value_and_outcome(other), ("other", CacheOutcome::Miss));
    assert_eq!(cache.counted(), [CacheOutcome::Hit, CacheOutcome::Miss, CacheOutcome::Miss, CacheOutcome::Miss]);
}

#[tokio::test]
async fn concurrent_requests_with_the_same_key_share_one_computation() {
    for result in [Ok("value"), Err("broken")] {
        let (cache, options) = (TestCache::new(1 << 20), RequestOptions::default());
        let (release, released) = oneshot::channel();
        let first = cache.get(1, &options, async { released.await.unwrap() });
        let second = async {
            // It begins after the first computation.
            let mut second = Box::pin(cache.get(1, &options, async { panic!("a second computation") }));
            assert!(futures_util::poll!(&mut second).is_pending());
            release.send(result).unwrap();
            second.await
        };
        match (join(first, second).await, result) {
            ((first, second), Ok(_)) => {
                assert_eq!(value_and_outcome(first), ("value", CacheOutcome::Miss));
                assert_eq!(value_and_outcome(second), ("value", CacheOutcome::Coalesced));
            }
            ((Lookup::Failed("broken"), Lookup::Failed("broken")), Err(_)) => (),
            (lookups, _) => panic!("{lookups:?}"),
        }
        assert_eq!(cache.counted(), [CacheOutcome::Miss, CacheOutcome::Coalesced]);
    }
}

#[tokio::test]
async fn after_an_error_of_the_leader_alone_one_follower_computes_for_all() {
    let (cache, options) = (TestCache::new(1 << 20), RequestOptions::default());
    let (release, released) = oneshot::channel();
    let first = cache.get(1, &options, async { released.await.unwrap() });
    let computations = Mutex::new(0);
    let follower = || {
        let compute = async {
            *computations.lock().unwrap() += 1;
            tokio::task::yield_now().await;
            Ok("value")
        };
        cache.get(1, &options, compute)
    };
    let (second, third) = (follower(), follower());
    let failing = async {
        let mut followers = Box::pin(join(second, third));
        assert!(futures_util::poll!(&mut followers).is_pending());
        release.send(Err("queue full")).unwrap();
        followers.await
    };
    let (first, (second, third)) = join(first, failing).await;
    assert!(matches!(first, Lookup::Failed("queue full")), "{first:?}");
    let outcomes = [second, third].map(|lookup| match value_and_outcome(lookup) {
        ("value", outcome) => outcome,
        other => panic!("{other:?}"),
    });
    assert!(outcomes.contains(&CacheOutcome::Miss) && outcomes.contains(&CacheOutcome::Coalesced), "{outcomes:?}");
    assert_eq!(*computations.lock().unwrap(), 1);
    assert_eq!(cache.counted(), [CacheOutcome::Miss, CacheOutcome::Miss, CacheOutcome::Coalesced]);
}

#[tokio::test]
async fn follower_takes_over_if_the_leader_is_cancelled() {
    let (cache, options) = (TestCache::new(1 << 20), RequestOptions::default());
    let mut first = Box::pin(cache.get(1, &options, pending()));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(cache.get(1, &options, async { Ok("own") }));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(value_and_outcome(second.await), ("own", CacheOutcome::Miss));
    assert_eq!(cache.counted(), [CacheOutcome::Miss, CacheOutcome::Miss]);
}

#[tokio::test]
async fn request_does_not_wait_for_a_leader_of_lower_priority() {
    let (cache, options) = (TestCache::new(1 << 20), RequestOptions::default());
    let urgent = RequestOptions { priority: Priority::High, ..RequestOptions::default() };
    let mut normal = Box::pin(cache.get(1, &options, pending()));
    assert!(futures_util::poll!(&mut normal).is_pending());
    let lookup = cache.get(1, &urgent, async { Ok("now") }).await;
    assert_eq!(value_and_outcome(lookup), ("now", CacheOutcome::Miss));
}

#[tokio::test(start_paused = true)]
async fn follower_does_not_wait_beyond_its_deadline() {
    let cache = TestCache::new(1 << 20);
    let deadline = Some(Instant::now() + Duration::from_secs(1));
    let (options, unlimited) = (RequestOptions { deadline, ..RequestOptions::default() }, RequestOptions::default());
    let slow = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok("slow")
    };
    // The leader's computation checks its deadline itself.
    let first = cache.get(1, &options, slow);
    let second = cache.get(1, &options, pending());
    let third = cache.get(1, &unlimited, pending());
    let (first, second, third) = join3(first, second, third).await;
    assert_eq!(value_and_outcome(first), ("slow", CacheOutcome::Miss));
    assert!(matches!(second, Lookup::DeadlinePassed), "{second:?}");
    assert_eq!(value_and_outcome(third), ("slow", CacheOutcome::Coalesced));
}

#[tokio::test]
async fn size_is_bounded_and_the_status_reports_whether_a_value_was_stored() {
    let (test, options) = (TestCache::new(20 * ENTRY_OVERHEAD), RequestOptions::default());
    let values = &test.cache.values;
    let mut refused = 0;
    for number in 0..200 {
        let ("x", CacheStatus { outcome: CacheOutcome::Miss, stored }) =
            value(test.get(number, &options, async { Ok("x") }).await)
        else {
            panic!("value {number} was not computed")
        };
        assert_eq!(stored, values.contains_key(&[number; 32]), "{number}");
        refused += usize::from(!stored);
    }
    assert!((1..199).contains(&refused), "{refused} of 200 were not stored");
    let (entries, bytes) = (values.entry_count(), values.weighted_size());
    assert!((1..20).contains(&entries) && bytes <= 20 * ENTRY_OVERHEAD, "{entries} entries of {bytes} bytes");
}
