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
        image::check_file_name(file_name.as_deref(), &bytes, &self.preprocessor.limits.formats)?;
        let admitted = self.admit(options)?;
        let preprocessed = self.preprocess(admitted, bytes, options, timer).await?;
        let Preprocessed { admitted, image, sample, timer } = preprocessed;
        let Scores { logits, timings } = self.score(admitted, sample, options, timer).await?;
        Ok(Embedding { values: logits, image, timings })
    }
}

impl Embedding {
    /// Divides the values by the length of the embedding (L2). An embedding of zeros stays.
    pub fn normalise(&mut self) {
        normalise(&mut self.values);
    }
}

fn normalise(values: &mut [f32]) {
    let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_embedding_has_length_one_and_zeros_stay() {
        let mut values = [3.0, -4.0];
        normalise(&mut values);
        assert_eq!(values, [0.6, -0.8]);
        let mut huge = [f32::MAX, f32::MAX];
        normalise(&mut huge);
        assert!((huge[0] - std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-6, "{huge:?}");
        let mut zeros = [0.0; 3];
        normalise(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
    }
}
