//! Several rows of one request, raw scores out: for clients that rank by themselves.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{Classifier, ClassifyError, Options, Timings};
use crate::batching::Permit;
use crate::inference::{Output, Sample};

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
    pub timings: Timings,
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
        let (started, count) = (Instant::now(), rows.len());
        let outcome = try_join_all(rows.into_iter().map(|row| self.row(row, &options, started))).await;
        // The slowest row is the one that the client waits for.
        let slowest = |all: &Vec<Scores>| all.iter().map(|scores| scores.timings).max_by_key(|timings| timings.total);
        self.statistics.record(started, outcome.as_ref().ok().and_then(slowest), count);
        outcome
    }

    async fn row(&self, row: Row, options: &Options, started: Instant) -> Result<Scores, ClassifyError> {
        let permit = self.admit(options)?;
        match row {
            Row::Picture(bytes) => {
                let (permit, decoded, decode) = self.decode(permit, bytes, started, options.deadline).await?;
                self.scores(permit, decoded.sample, options, started, Some(decode)).await
            }
            Row::Tensor(values) => {
                let spec = self.model.spec();
                assert_eq!(values.len(), 3 * (spec.width * spec.height) as usize, "values of a row");
                self.scores(permit, Sample::Tensor(values), options, started, None).await
            }
        }
    }

    async fn scores(
        &self,
        permit: Permit,
        sample: Sample,
        options: &Options,
        started: Instant,
        decode: Option<Duration>,
    ) -> Result<Scores, ClassifyError> {
        match self.run(permit, sample, options, None, started, decode).await? {
            (Output::Logits(logits), timings) => Ok(Scores { logits, timings }),
            (Output::Ranked(_), _) => unreachable!("all scores were asked for"),
        }
    }
}
