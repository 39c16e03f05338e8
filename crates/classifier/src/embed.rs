//! Computes the embedding of one image, for models whose output is not classes.

use crate::classifier::Classifier;
use crate::infer::Scores;
use crate::options::RequestOptions;
use crate::prediction::{ClassifyError, Embedding};
use crate::preprocess::Preprocessed;
use crate::statistics::PhaseTimer;
use kiln_image::{self as image, EncodedImage};

impl Classifier {
    /// Returns the output of the network for one image. The response cache is not used, and nothing is recorded.
    ///
    /// `options.top_k` and `options.threshold` are ignored.
    ///
    /// # Errors
    ///
    /// See [`Classifier::classify`].
    pub async fn embed(&self, image: EncodedImage, options: RequestOptions) -> Result<Embedding, ClassifyError> {
        let options = RequestOptions { top_k: None, ..options };
        let tracker = self.statistics.begin(1);
        let outcome = self.embed_image(image, &options).await;
        tracker.finish(outcome.as_ref().map(|embedding| embedding.timings));
        outcome
    }

    async fn embed_image(&self, image: EncodedImage, options: &RequestOptions) -> Result<Embedding, ClassifyError> {
        let EncodedImage { bytes, file_name } = image;
        let timer = PhaseTimer::start(options.arrived);
        image::check_file_name(file_name.as_deref(), &self.preprocessor.limits.formats)?;
        let admitted = self.admit(options)?;
        let preprocessed = self.preprocess(admitted, bytes, options, timer).await?;
        let Preprocessed { admitted, image, sample, timer } = preprocessed;
        let Scores { logits, timings } = self.score(admitted, sample, options, timer).await?;
        Ok(Embedding { values: logits, image, timings })
    }
}
