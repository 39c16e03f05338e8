//! Extracts features: the inputs of the last layer, computed by the frozen network.
//!
//! The generated network returns only logits. Therefore the normal engine runs with heads that pass features through
//! ([`Head::selector`]), as many features per pass as the model has classes. This does not round the features.

use kiln_inference::model::Model;
use kiln_inference::{BurnEngine, ChosenDevice, Difference, Engine, EngineError, Options, Sample};
use model_import::Head;

use crate::error::FinetuneError;

/// Maximum difference between logits computed from features and the network's own, relative to the largest logit: the order of
/// summation differs.
const TOLERANCE: f32 = 1e-3;
/// Maximum number of images whose logits are compared.
const COMPARED_IMAGES: usize = 8;
/// Maximum total size of the weights of engines that stay in memory, in bytes. A model with few classes needs many passes, too
/// many for one engine each; the engines of the remaining passes are started again for each call.
const MAX_CACHED_WEIGHTS: usize = 512 << 20;

/// Features of some images.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Number of features per image.
    pub width: usize,
    /// f32 `[images, width]`, row-major.
    pub values: Vec<f32>,
}

impl Features {
    /// Returns the features of one image.
    pub fn row(&self, image: usize) -> &[f32] {
        &self.values[image * self.width..][..self.width]
    }
}

/// Extracts features of a model's images on a device. It can be called several times; its engines are reused.
#[derive(Debug)]
pub struct FeatureExtractor<'a> {
    model: &'a Model,
    head: &'a Head,
    device: &'a ChosenDevice,
    options: Options,
    /// The engines of the first passes.
    engines: Vec<BurnEngine>,
    /// Whether the head was verified to compute the network's logits.
    is_verified: bool,
}

impl<'a> FeatureExtractor<'a> {
    /// Starts the network of `model`, whose head is `head`. The `options` should request f32: a lower precision would round the
    /// features.
    ///
    /// # Errors
    ///
    /// The network does not run on the device, or its weights have no such head.
    pub fn start(
        model: &'a Model,
        head: &'a Head,
        device: &'a ChosenDevice,
        options: Options,
    ) -> Result<Self, FinetuneError> {
        let bytes = model.weights().map_or(0, |weights| weights.bytes().len());
        let max_engines = MAX_CACHED_WEIGHTS / bytes.max(1);
        Self::with_engines(max_engines, model, head, device, options)
    }

    /// Starts the network, and keeps at most `max_engines` engines.
    fn with_engines(
        max_engines: usize,
        model: &'a Model,
        head: &'a Head,
        device: &'a ChosenDevice,
        options: Options,
    ) -> Result<Self, FinetuneError> {
        let mut extractor = Self { model, head, device, options, engines: Vec::new(), is_verified: false };
        for pass in 0..head.passes().min(max_engines) {
            let engine = extractor.start_engine(pass)?;
            extractor.engines.push(engine);
        }
        Ok(extractor)
    }

    /// Extracts the features of `images`. Calls `progress` with the number of images after each batch of each pass.
    ///
    /// # Errors
    ///
    /// The device fails, features are not finite, or the head does not compute the network's logits, which the first images show.
    pub fn run(&mut self, images: &[Sample], mut progress: impl FnMut(usize)) -> Result<Features, FinetuneError> {
        let (head, batch_size) = (self.head, self.options.max_batch_size);
        let mut features = Features { width: head.features, values: vec![0.0; images.len() * head.features] };
        if images.is_empty() {
            return Ok(features);
        }
        for pass in 0..head.passes() {
            let passed = head.passed(pass);
            let mut engine = match self.engines.get(pass) {
                Some(engine) => engine.clone(),
                None => self.start_engine(pass)?,
            };
            for (start, batch) in (0..).step_by(batch_size).zip(images.chunks(batch_size)) {
                for (image, row) in (start..).zip(engine.run(batch)?) {
                    if !row.iter().all(|feature| feature.is_finite()) {
                        return Err(EngineError::Device("the features are not finite".to_string()).into());
                    }
                    let all = &mut features.values[image * head.features..][..head.features];
                    all[passed.clone()].copy_from_slice(&row[..passed.len()]);
                }
                progress(batch.len());
            }
        }
        if !self.is_verified {
            self.verify_head(&images[..images.len().min(COMPARED_IMAGES)], &features)?;
            self.is_verified = true;
        }
        Ok(features)
    }

    /// Starts an engine whose logits are the features of a pass.
    fn start_engine(&self, pass: usize) -> Result<BurnEngine, FinetuneError> {
        let weights = self.model.weights().ok_or(FinetuneError::NotBuiltIn)?.with_head(&self.head.selector(pass))?;
        let model = self.model.with_weights(&format!("features-{pass}"), weights);
        Ok(BurnEngine::start(model, self.device, &self.options, |_| ())?)
    }

    /// Verifies that the head computes the logits of the network.
    fn verify_head(&self, images: &[Sample], features: &Features) -> Result<(), FinetuneError> {
        let mut engine = BurnEngine::start(self.model.clone(), self.device, &self.options, |_| ())?;
        for (index, image) in images.iter().enumerate() {
            let expected = engine.run(std::slice::from_ref(image))?.swap_remove(0);
            let difference = Difference::between(&logits(self.head, features.row(index)), &expected, TOLERANCE);
            if !difference.is_allowed() {
                return Err(FinetuneError::NotTheLast(difference));
            }
        }
        Ok(())
    }
}

/// Computes the logits of a head for the features of one image.
fn logits(head: &Head, features: &[f32]) -> Vec<f32> {
    let mut logits = head.bias.clone();
    for (feature, weights) in features.iter().zip(head.weight.chunks_exact(head.classes)) {
        logits.iter_mut().zip(weights).for_each(|(logit, weight)| *logit += feature * weight);
    }
    logits
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_image::PreprocessedImage;
    use kiln_inference::{DeviceChoice, device};

    fn image(seed: usize) -> Sample {
        let pixels = (0..224 * 224 * 3).map(|i| (i * 7919 * seed % 256) as u8).collect();
        Sample::from(PreprocessedImage::new(224, 224, pixels))
    }

    #[test]
    fn features_times_the_head_are_the_logits() {
        let model = Model::named("efficientnet-lite0").unwrap();
        let head = model.weights().unwrap().head(1000).unwrap();
        let device = device::choose(&DeviceChoice::Cpu).unwrap();
        let images: Vec<Sample> = (1..4).map(image).collect();
        let mut seen = 0;
        let mut extractor = FeatureExtractor::start(&model, &head, &device, Options::new(2)).unwrap();
        let features = extractor.run(&images, |count| seen += count).unwrap();
        // 1280 features need two passes of 1000 classes.
        assert_eq!((features.width, features.values.len(), seen), (1280, 3 * 1280, 2 * 3));
        assert_eq!(extractor.engines.len(), 2);
        let mut engine = BurnEngine::start(model.clone(), &device, &Options::new(2), |_| ()).unwrap();
        for (index, sample) in images.iter().enumerate() {
            let expected = engine.run(std::slice::from_ref(sample)).unwrap().swap_remove(0);
            let difference = Difference::between(&logits(&head, features.row(index)), &expected, 1e-5);
            assert!(difference.is_allowed(), "{difference}");
            assert!(features.row(index).iter().filter(|value| **value != 0.0).count() > 100, "the features are zeros");
        }
        // Two calls, with one engine that is kept and one that is not.
        let mut extractor = FeatureExtractor::with_engines(1, &model, &head, &device, Options::new(2)).unwrap();
        assert_eq!(extractor.engines.len(), 1);
        let none = extractor.run(&[], |_| ()).unwrap();
        assert!(none.values.is_empty() && !extractor.is_verified);
        let parts = [&images[..2], &images[2..]].map(|part| extractor.run(part, |_| ()).unwrap().values);
        let difference = Difference::between(&parts.concat(), &features.values, 1e-5);
        assert!(difference.is_allowed(), "{difference}");
    }

    #[test]
    fn head_that_is_not_the_last_layer_is_refused() {
        let model = Model::named("efficientnet-lite0").unwrap();
        let device = device::choose(&DeviceChoice::Cpu).unwrap();
        for wrong in [1.0, f32::NAN] {
            let mut head = model.weights().unwrap().head(1000).unwrap();
            head.bias[0] += wrong;
            let mut extractor = FeatureExtractor::start(&model, &head, &device, Options::new(1)).unwrap();
            let refused = extractor.run(&[image(1)], |_| ()).unwrap_err();
            assert!(matches!(refused, FinetuneError::NotTheLast(_)), "{refused}");
        }
    }
}
