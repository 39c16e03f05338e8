//! A picture's way where answers are kept: by the digest of its bytes, before a permit is asked for and anything is decoded.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::answer::Answer;
use super::timings::PhaseTimer;
use super::{Classifier, ClassifyError, Options, PoolError};
use crate::cache::{Answerer, Cache, Found, Key, LookUp, Outcome, Question, Weighed};
use kiln_image::Recipe;
use kiln_inference::model::Model;
use kiln_runtime::telemetry::Phase;

/// A larger file's digest is made by a thread that may decode: other connections would notice how long it takes.
const LARGE: usize = 256 << 10;

/// Where answers are kept. All models of a server share one.
pub type Answers = Cache<Arc<Answer>, ClassifyError>;

/// The answers of one model.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    answers: Answers,
    answerer: Answerer,
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
        let answerer = Answerer::new([digest.as_bytes(), preprocessing.as_bytes()].into_iter().chain(labels));
        Self { answers, answerer }
    }
}

impl Classifier {
    /// The key of a question. What was answered before a device failed may have been wrong already, so it is not found any more.
    async fn key(&self, kept: &Kept, top_k: usize, bytes: &Bytes) -> Result<Key, PoolError> {
        let failures = self.batcher.failures();
        if bytes.len() < LARGE {
            return Ok(kept.answerer.key(top_k, failures, bytes));
        }
        let (answerer, bytes) = (kept.answerer, bytes.clone());
        self.pool.run(move || answerer.key(top_k, failures, &bytes)).await
    }

    /// The answer to a picture, and whether it was there.
    pub(super) async fn kept_or_run(
        &self,
        kept: &Kept,
        bytes: Bytes,
        options: &Options,
        mut timer: PhaseTimer,
    ) -> Result<(Answer, PhaseTimer, LookUp), ClassifyError> {
        let count = |outcome| self.batcher.metrics().cache_lookup(outcome);
        if options.fresh {
            count(Outcome::Bypassed);
            let (answer, timer) = self.run_picture(bytes, options, timer).await?;
            return Ok((answer, timer, Outcome::Bypassed.into()));
        }
        let mut leaver = Leaver(Some(&count));
        let key = self.key(kept, options.top_k, &bytes);
        let key = match options.deadline {
            // The threads that decode may have much to do.
            Some(deadline) => tokio::time::timeout_at(deadline.into(), key).await.map_err(|_| self.late(&timer))??,
            None => key.await?,
        };
        leaver.0 = None;
        let question = Question { key, urgency: options.priority as u8, deadline: options.deadline };
        let ran = Mutex::new(None);
        let run = async {
            let (answer, timer) = self.run_picture(bytes, options, timer).await?;
            *ran.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
            Ok(Arc::new(answer))
        };
        // The picture is the same for all, and so is what is wrong with it. Room and time are each one's own.
        let is_shared = |error: &ClassifyError| matches!(error, ClassifyError::Image(_));
        let found = kept.answers.answer(question, run, is_shared, &count).await;
        let ran = ran.into_inner().unwrap_or_else(PoisonError::into_inner);
        match found {
            Found::Answer(answer, look_up) => {
                if look_up.outcome == Outcome::Coalesced {
                    timer.end(Phase::Queue);
                }
                Ok((Answer::clone(&answer), ran.unwrap_or(timer), look_up))
            }
            Found::Failed(error) => Err(error),
            Found::Late => Err(self.late(&timer)),
        }
    }

    /// What came of looking for a picture's answer where it has none in the end; nothing where answers are not kept.
    pub fn without_answer(&self, options: &Options) -> Option<LookUp> {
        let outcome = if options.fresh { Outcome::Bypassed } else { Outcome::Miss };
        self.kept.as_ref().map(|_| outcome.into())
    }
}

/// Who leaves before his question has a key has missed an answer, or the outcomes would not add up to all pictures.
struct Leaver<'a, F: Fn(Outcome)>(Option<&'a F>);

impl<F: Fn(Outcome)> Drop for Leaver<'_, F> {
    fn drop(&mut self) {
        self.0.into_iter().for_each(|count| count(Outcome::Miss));
    }
}
