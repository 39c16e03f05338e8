//! Scores several rows of one request: raw logits for clients that rank classes themselves.

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::batching::Admitted;
use crate::classifier::Classifier;
use crate::options::RequestOptions;
use crate::prediction::ClassifyError;
use crate::preprocess::Preprocessed;
use crate::statistics::PhaseTimer;
use kiln_inference::{Output, Sample};
use kiln_runtime::telemetry::PhaseTimings;

/// One row of a request.
#[derive(Clone, Debug)]
pub enum Row {
    /// An encoded image.
    Image(Bytes),
    /// The network's input, preprocessed by the client: f32 `[3, height, width]`, contiguous.
    Tensor(Box<[f32]>),
}

/// The logits of one row.
#[derive(Clone, Debug)]
pub struct Scores {
    /// f32, one value per class in index order. Those of a tensor need not be finite.
    pub logits: Box<[f32]>,
    /// How long each phase took.
    pub timings: PhaseTimings,
}

impl Classifier {
    /// Scores rows. Each row takes a place in the queue and may run in another batch. Either all rows have scores, or
    /// none.
    ///
    /// `options.top_k` is ignored.
    ///
    /// # Errors
    ///
    /// Returns the error of the first row that fails, and cancels the other rows.
    ///
    /// # Panics
    ///
    /// Panics if a tensor does not have the model's input size.
    pub async fn infer(&self, rows: Vec<Row>, options: RequestOptions) -> Result<Vec<Scores>, ClassifyError> {
        let options = RequestOptions { top_k: None, ..options };
        let tracker = self.statistics.begin(rows.len());
        let timer = PhaseTimer::start(options.arrived);
        let outcome = try_join_all(rows.into_iter().map(|row| self.infer_row(row, &options, timer))).await;
        tracker.finish(outcome.as_ref().map(|all| slowest(all)));
        outcome
    }

    async fn infer_row(&self, row: Row, options: &RequestOptions, timer: PhaseTimer) -> Result<Scores, ClassifyError> {
        let admitted = self.admit(options)?;
        match row {
            Row::Image(bytes) => {
                let preprocessed = self.preprocess(admitted, bytes, options, timer).await?;
                let Preprocessed { admitted, sample, timer, .. } = preprocessed;
                self.score(admitted, sample, options, timer).await
            }
            Row::Tensor(values) => {
                let spec = self.model().spec();
                assert_eq!(values.len(), 3 * (spec.width * spec.height) as usize, "values of a row");
                self.score(admitted, Sample::Tensor(values), options, timer).await
            }
        }
    }

    pub(super) async fn score(
        &self,
        admitted: Admitted,
        sample: Sample,
        options: &RequestOptions,
        mut timer: PhaseTimer,
    ) -> Result<Scores, ClassifyError> {
        match self.infer_sample(admitted, sample, options, &mut timer).await? {
            Output::Logits(logits) => Ok(Scores { logits, timings: self.finish(timer) }),
            Output::TopK(_) => unreachable!("without top_k, engines return logits"),
        }
    }
}

/// Returns the timings of the slowest row, which determines the latency of the request.
pub fn slowest(rows: &[Scores]) -> PhaseTimings {
    rows.iter().map(|scores| scores.timings).max_by_key(PhaseTimings::total).unwrap_or_default()
}
