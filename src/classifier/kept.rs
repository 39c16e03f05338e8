//! A picture's way where answers are kept: by the digest of its bytes, before a permit is asked for and anything is decoded.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::answer::Answer;
use super::timings::Clock;
use super::{Classifier, ClassifyError, Options, PoolError};
use crate::batching::BatchError;
use crate::cache::{Asker, Cache, Found, Key, Outcome, Weighed};
use crate::image::Recipe;
use crate::model::Model;

/// A larger picture's digest is worth a thread of its own: it takes more than half a millisecond.
const LARGE: usize = 1 << 20;

/// Where answers are kept. All models of a server share one.
pub type Answers = Cache<Arc<Answer>>;

/// The answers of one model.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    answers: Answers,
    asker: Asker,
}

impl Weighed for Arc<Answer> {
    fn bytes(&self) -> usize {
        size_of::<Answer>() + size_of_val(&*self.classes)
    }
}

impl Kept {
    pub(super) fn new(answers: Answers, model: &Model, recipe: &Recipe) -> Self {
        let spec = model.spec();
        let digest = model.digest();
        let preprocessing = format!("{recipe:?} {:?} {:?}", spec.mean, spec.std);
        let labels = spec.labels.iter().map(|label| label.as_bytes());
        let asker = Asker::new([digest.as_bytes(), preprocessing.as_bytes()].into_iter().chain(labels));
        Self { answers, asker }
    }

    async fn key(&self, top_k: usize, bytes: &Bytes) -> Result<Key, PoolError> {
        if bytes.len() < LARGE {
            return Ok(self.asker.key(top_k, bytes));
        }
        let (asker, bytes) = (self.asker.clone(), bytes.clone());
        tokio::task::spawn_blocking(move || asker.key(top_k, &bytes)).await.map_err(|_| PoolError::Panicked)
    }
}

impl Classifier {
    /// The answer to a picture, and whether it was there.
    pub(super) async fn kept_or_run(
        &self,
        kept: &Kept,
        bytes: Bytes,
        options: &Options,
        mut clock: Clock,
    ) -> Result<(Answer, Clock, Outcome), ClassifyError> {
        let count = |outcome| self.batcher.metrics().cache(outcome);
        if options.fresh {
            count(Outcome::Bypassed);
            let (answer, clock) = self.run_picture(bytes, options, clock).await?;
            return Ok((answer, clock, Outcome::Bypassed));
        }
        let key = kept.key(options.top_k, &bytes).await?;
        let ran = Mutex::new(None);
        let run = async {
            let (answer, clock) = self.run_picture(bytes.clone(), options, clock).await?;
            *ran.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock);
            Ok(Arc::new(answer))
        };
        let found = kept.answers.answer(key, options.deadline, run, count).await;
        let ran = ran.into_inner().unwrap_or_else(PoisonError::into_inner);
        match found {
            Found::Answer(answer, outcome) => {
                if outcome == Outcome::Coalesced {
                    clock.submitted();
                }
                Ok((Answer::clone(&answer), ran.unwrap_or(clock), outcome))
            }
            Found::Failed(error) => Err(error),
            // The picture is the same, so is what is wrong with it. Room and time were the other's own.
            Found::OtherFailed(error @ ClassifyError::Image(_)) => Err(error),
            Found::OtherFailed(_) => {
                let (answer, clock) = self.run_picture(bytes, options, clock).await?;
                Ok((answer, clock, Outcome::Coalesced))
            }
            Found::Late => {
                let (queued, retry_after) = (clock.began().elapsed(), self.batcher.retry_after());
                Err(BatchError::DeadlinePassed { queued, retry_after }.into())
            }
        }
    }
}
