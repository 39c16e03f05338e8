//! Several rows of one request, raw scores out: for clients that rank by themselves.

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::decode::Decoded;
use super::timings::PhaseTimer;
use super::{Classifier, ClassifyError, Options};
use crate::batching::Permit;
use kiln_inference::{Output, Sample};
use kiln_runtime::telemetry::PhaseTimings;

/// One row of a request.
#[derive(Clone, Debug)]
pub enum Row {
    /// An encoded picture.
    Picture(Bytes),
    /// What the network takes, prepared by the client: f32 `[3, height, width]`, laid out flat.
    Tensor(Box<[f32]>),
}

/// The raw scores of one row.
#[derive(Clone, Debug)]
pub struct Scores {
    /// f32, one a class in index order. Those of a tensor need not be finite.
    pub logits: Box<[f32]>,
    /// Where the time went.
    pub timings: PhaseTimings,
}

impl Classifier {
    /// The most rows that can ever have a place at once.
    pub fn capacity(&self) -> usize {
        self.batcher.capacity()
    }

    /// Scores rows, each of which takes a place in the queue and may run in another batch. All have an answer, or none.
    ///
    /// `options.top_k` is of no interest here.
    ///
    /// # Errors
    ///
    /// That of the first row that fails; the others are given up then.
    ///
    /// # Panics
    ///
    /// A tensor is not of the model's size.
    pub async fn infer(&self, rows: Vec<Row>, options: Options) -> Result<Vec<Scores>, ClassifyError> {
        let asked = self.statistics.begin(rows.len());
        let timer = PhaseTimer::start(options.arrived);
        let outcome = try_join_all(rows.into_iter().map(|row| self.row(row, &options, timer))).await;
        asked.end(outcome.as_ref().map(|all| slowest(all)));
        outcome
    }

    async fn row(&self, row: Row, options: &Options, timer: PhaseTimer) -> Result<Scores, ClassifyError> {
        let permit = self.admit(options)?;
        match row {
            Row::Picture(bytes) => {
                let Decoded { permit, sample, timer, .. } = self.decode(permit, bytes, timer, options.deadline).await?;
                self.scores(permit, sample, options, timer).await
            }
            Row::Tensor(values) => {
                let spec = self.model.spec();
                assert_eq!(values.len(), 3 * (spec.width * spec.height) as usize, "values of a row");
                self.scores(permit, Sample::Tensor(values), options, timer).await
            }
        }
    }

    async fn scores(
        &self,
        permit: Permit,
        sample: Sample,
        options: &Options,
        mut timer: PhaseTimer,
    ) -> Result<Scores, ClassifyError> {
        match self.run(permit, sample, options, None, &mut timer).await? {
            Output::Logits(logits) => Ok(Scores { logits, timings: self.finish(timer) }),
            Output::Ranked(_) => unreachable!("all scores were asked for"),
        }
    }
}

/// The timings of the row that the client waits for.
pub fn slowest(rows: &[Scores]) -> PhaseTimings {
    rows.iter().map(|scores| scores.timings).max_by_key(PhaseTimings::total).unwrap_or_default()
}
