//! What is kept, and the one run for all who ask the same at once.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::Key;
use crate::telemetry::metrics::{self, CacheOutcome as Outcome};

/// What an entry takes besides its answer, in bytes: measured with a million of them.
const ENTRY: u64 = 400;

/// An answer that tells how many bytes it takes.
pub trait Weighed: Clone + Send + Sync + 'static {
    /// In bytes.
    fn bytes(&self) -> usize;
}

/// Answers, no more of them than fit. What is asked often stays (moka's TinyLFU). Cheap to clone; clones share all.
pub struct Cache<V> {
    kept: moka::future::Cache<Key, V>,
}

/// What came of a question.
#[derive(Debug)]
pub enum Found<V, E> {
    /// An answer.
    Answer(V, Outcome),
    /// Its own run failed.
    Failed(E),
    /// The run of another, who asked the same before, failed.
    OtherFailed(E),
    /// The deadline passed while another's run went on.
    Late,
}

impl<V: Weighed> Cache<V> {
    /// An empty one, for answers of so many bytes together.
    pub fn new(max_bytes: u64) -> Self {
        let weigh = |_: &Key, answer: &V| u32::try_from(answer.bytes() as u64 + ENTRY).unwrap_or(u32::MAX);
        let kept = moka::future::Cache::builder().max_capacity(max_bytes).weigher(weigh).build();
        metrics::cache_holds(0, 0);
        Self { kept }
    }

    /// The answer to a question. Where it is not there, the first who asks runs `run`; who asks the same meanwhile waits for
    /// him, until `deadline`. If the first goes away, the next one runs his own.
    pub async fn answer<E: Clone + Send + Sync + 'static>(
        &self,
        key: Key,
        deadline: Option<Instant>,
        run: impl Future<Output = Result<V, E>>,
        count: impl Fn(Outcome),
    ) -> Found<V, E> {
        if let Some(answer) = self.kept.get(&key).await {
            count(Outcome::Hit);
            return Found::Answer(answer, Outcome::Hit);
        }
        let waiting = Waiting { runs: AtomicBool::new(false), count };
        let own = async {
            waiting.runs.store(true, Ordering::Relaxed);
            run.await
        };
        let mut asking = pin!(self.kept.entry(key).or_try_insert_with(own));
        let outcome = match deadline {
            // Its own run knows the deadline by itself.
            Some(deadline) => tokio::select! {
                biased;
                outcome = &mut asking => outcome,
                () = tokio::time::sleep_until(deadline.into()), if !waiting.runs() => {
                    if !waiting.runs() {
                        return Found::Late;
                    }
                    asking.await
                }
            },
            None => asking.await,
        };
        match outcome {
            Ok(entry) => {
                metrics::cache_holds(self.kept.entry_count(), self.kept.weighted_size());
                let outcome = if waiting.runs() { Outcome::Miss } else { Outcome::Coalesced };
                Found::Answer(entry.into_value(), outcome)
            }
            Err(error) if waiting.runs() => Found::Failed(Arc::unwrap_or_clone(error)),
            Err(error) => Found::OtherFailed(Arc::unwrap_or_clone(error)),
        }
    }
}

/// Who asked for what is not there. However he leaves, he is counted once.
struct Waiting<F: Fn(Outcome)> {
    runs: AtomicBool,
    count: F,
}

impl<F: Fn(Outcome)> Waiting<F> {
    fn runs(&self) -> bool {
        self.runs.load(Ordering::Relaxed)
    }
}

impl<F: Fn(Outcome)> Drop for Waiting<F> {
    fn drop(&mut self) {
        (self.count)(if self.runs() { Outcome::Miss } else { Outcome::Coalesced });
    }
}

impl<V> std::fmt::Debug for Cache<V> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Self { kept: self.kept.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_util::future::{join, pending};
    use tokio::sync::oneshot;

    use super::*;

    impl Weighed for &'static str {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    /// What was counted.
    #[derive(Default)]
    struct Counts(Mutex<Vec<Outcome>>);

    impl Counts {
        fn count(&self) -> impl Fn(Outcome) {
            |outcome| self.0.lock().unwrap().push(outcome)
        }

        fn seen(&self) -> Vec<Outcome> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    const fn key(number: u8) -> Key {
        [number; 32]
    }

    async fn run(answer: &'static str) -> Result<&'static str, &'static str> {
        Ok(answer)
    }

    #[tokio::test]
    async fn an_answer_is_made_once_and_a_failure_is_not_kept() {
        let (cache, counts) = (Cache::new(1 << 20), Counts::default());
        let failed = cache.answer(key(1), None, async { Err("broken") }, counts.count()).await;
        assert!(matches!(failed, Found::Failed("broken")), "{failed:?}");
        for (answer, expected) in [("first", Outcome::Miss), ("second", Outcome::Hit)] {
            let found = cache.answer(key(1), None, run(answer), counts.count()).await;
            assert!(matches!(found, Found::Answer("first", outcome) if outcome == expected), "{found:?}");
        }
        let other = cache.answer(key(2), None, run("other"), counts.count()).await;
        assert!(matches!(other, Found::Answer("other", Outcome::Miss)), "{other:?}");
        assert_eq!(counts.seen(), [Outcome::Miss, Outcome::Miss, Outcome::Hit, Outcome::Miss]);
    }

    #[tokio::test]
    async fn who_asks_the_same_meanwhile_waits_for_the_same_run() {
        let (cache, counts) = (Cache::new(1 << 20), Counts::default());
        for outcome in [Ok("answer"), Err("broken")] {
            let (release, held) = oneshot::channel();
            let first = cache.answer(key(1), None, async { held.await.unwrap() }, counts.count());
            let second = async {
                // It is asked once the first runs.
                let asked = cache.answer(key(1), None, async { panic!("a second run") }, counts.count());
                tokio::pin!(asked);
                assert!(futures_util::poll!(&mut asked).is_pending());
                release.send(outcome).unwrap();
                asked.await
            };
            match (join(first, second).await, outcome) {
                ((Found::Answer("answer", Outcome::Miss), Found::Answer("answer", Outcome::Coalesced)), Ok(_)) => (),
                ((Found::Failed("broken"), Found::OtherFailed("broken")), Err(_)) => (),
                (found, _) => panic!("{found:?}"),
            }
            cache.kept.invalidate(&key(1)).await;
            let mut seen = counts.seen();
            seen.sort_by_key(|outcome| outcome.word());
            assert_eq!(seen, [Outcome::Coalesced, Outcome::Miss]);
        }
    }

    #[tokio::test]
    async fn if_the_first_goes_away_the_next_runs_his_own() {
        let (cache, counts) = (Cache::new(1 << 20), Counts::default());
        let mut first = Box::pin(cache.answer(key(1), None, pending::<Result<_, Infallible>>(), counts.count()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(cache.answer(key(1), None, async { Ok::<_, Infallible>("own") }, counts.count()));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        let found = second.await;
        assert!(matches!(found, Found::Answer("own", Outcome::Miss)), "{found:?}");
        assert_eq!(counts.seen(), [Outcome::Miss, Outcome::Miss]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_anothers_run_beyond_his_deadline() {
        let (cache, counts) = (Cache::new(1 << 20), Counts::default());
        let deadline = Some((tokio::time::Instant::now() + Duration::from_secs(1)).into_std());
        let slow = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok::<_, Infallible>("slow")
        };
        // His own run judges the deadline by itself.
        let first = cache.answer(key(1), deadline, slow, counts.count());
        let second = cache.answer(key(1), deadline, pending::<Result<_, Infallible>>(), counts.count());
        let (first, second) = join(first, second).await;
        assert!(matches!(first, Found::Answer("slow", Outcome::Miss)), "{first:?}");
        assert!(matches!(second, Found::Late), "{second:?}");
    }

    #[tokio::test]
    async fn no_more_is_kept_than_fits() {
        let (cache, counts) = (Cache::new(20 * ENTRY), Counts::default());
        for number in 0..200 {
            cache.answer(key(number), None, run("x"), counts.count()).await;
        }
        cache.kept.run_pending_tasks().await;
        let (entries, bytes) = (cache.kept.entry_count(), cache.kept.weighted_size());
        assert!((1..20).contains(&entries) && bytes <= 20 * ENTRY, "{entries} entries of {bytes} bytes");
    }
}
