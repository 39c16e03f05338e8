//! What is kept, and the one run for all who ask the same at once.

use std::time::Instant;

use super::flights::{Flights, Turn};
use super::{Key, Outcome};
use kiln_runtime::telemetry::metrics::CacheMetrics;

/// What an entry takes besides its answer, in bytes, rounded up: measured with a million of them.
const ENTRY: u64 = 400;

/// An answer that tells how many bytes it takes.
pub trait Weighed: Clone + Send + Sync + 'static {
    /// In bytes.
    fn bytes(&self) -> usize;
}

/// Answers, no more of them than fit. What is asked often stays (moka's TinyLFU). Cheap to clone; clones share all.
pub struct Cache<V, E> {
    kept: moka::future::Cache<Key, V>,
    flights: Flights<V, E>,
    metrics: CacheMetrics,
}

/// A question, and how it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// What is asked.
    pub key: Key,
    /// Who is to be served first has the smaller number. Nobody waits for the run of somebody with another one.
    pub urgency: u8,
    /// When the answer is of no use any more.
    pub deadline: Option<Instant>,
}

/// What came of looking for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookUp {
    /// Whether it was there.
    pub outcome: Outcome,
    /// Whether an answer that was made is there for who asks next. What was not asked often enough to drive others out is not.
    pub is_kept: bool,
}

/// What came of a question.
#[derive(Debug)]
pub enum Found<V, E> {
    /// An answer.
    Answer(V, LookUp),
    /// A run failed: its own, or that of another if that would have come to the same.
    Failed(E),
    /// The deadline passed while another's run went on.
    Late,
}

impl<V: Weighed, E: Clone> Cache<V, E> {
    /// An empty one, for answers of so many bytes together.
    pub fn new(max_bytes: u64) -> Self {
        let weigh = |_: &Key, answer: &V| u32::try_from(answer.bytes() as u64 + ENTRY).unwrap_or(u32::MAX);
        let kept = moka::future::Cache::builder().max_capacity(max_bytes).weigher(weigh).build();
        Self { kept, flights: Flights::default(), metrics: CacheMetrics::new() }
    }

    /// The answer to a question. Where it is not there, the first who asks runs `run`; who asks the same meanwhile waits for
    /// him, until his own deadline. If the first goes away, or fails for a reason that `is_shared` says is his own, the next
    /// one runs.
    pub async fn answer(
        &self,
        question: Question,
        run: impl Future<Output = Result<V, E>>,
        is_shared: impl Fn(&E) -> bool,
        count: impl Fn(Outcome),
    ) -> Found<V, E> {
        let mut asked = Asked { outcome: Outcome::Hit, count };
        loop {
            if let Some(answer) = self.kept.get(&question.key).await {
                return Found::Answer(answer, asked.outcome.into());
            }
            match self.flights.join(question.key, question.urgency) {
                Turn::Run(flight) => {
                    asked.outcome = Outcome::Miss;
                    let outcome = run.await;
                    let is_kept = match &outcome {
                        Ok(answer) => self.keep(question.key, answer.clone()).await,
                        Err(_) => false,
                    };
                    if outcome.as_ref().err().is_none_or(is_shared) {
                        flight.land(outcome.clone());
                    }
                    let look_up = LookUp { outcome: Outcome::Miss, is_kept };
                    return outcome.map_or_else(Found::Failed, |answer| Found::Answer(answer, look_up));
                }
                Turn::Wait(flight) => {
                    asked.outcome = Outcome::Coalesced;
                    let landed = match question.deadline {
                        Some(deadline) => tokio::time::timeout_at(deadline.into(), flight.landed()).await,
                        None => Ok(flight.landed().await),
                    };
                    match landed {
                        Ok(Some(Ok(answer))) => return Found::Answer(answer, Outcome::Coalesced.into()),
                        Ok(Some(Err(error))) => return Found::Failed(error),
                        // It was given up: the next one's turn.
                        Ok(None) => {}
                        Err(_) => return Found::Late,
                    }
                }
            }
        }
    }

    /// Whether it is there then.
    async fn keep(&self, key: Key, answer: V) -> bool {
        self.kept.insert(key, answer).await;
        // Done now and not with the next one, so that what is told is so.
        self.kept.run_pending_tasks().await;
        self.metrics.set_size(self.kept.entry_count(), self.kept.weighted_size());
        self.kept.contains_key(&key)
    }
}

/// Where nothing was made that could be kept.
impl From<Outcome> for LookUp {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, is_kept: false }
    }
}

/// Who asks. However he leaves, he is counted once.
struct Asked<F: Fn(Outcome)> {
    outcome: Outcome,
    count: F,
}

impl<F: Fn(Outcome)> Drop for Asked<F> {
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
        Self { kept: self.kept.clone(), flights: self.flights.clone(), metrics: self.metrics.clone() }
    }
}

#[cfg(test)]
mod tests;
