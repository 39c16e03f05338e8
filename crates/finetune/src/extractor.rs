//! Runs the frozen network for its features, the numbers that its last layer takes.
//!
//! The generated network gives only logits, so the ordinary engine is run with heads that let the features through
//! ([`Head::selector`]), as many at a time as there are classes. Nothing is rounded by that.

use model_import::Head;

use super::{Features, FinetuneError};
use kiln_inference::{BurnEngine, ChosenDevice, Difference, Engine, EngineError, Options, Sample};
use kiln_inference::model::Model;

/// Logits computed from features may be so far from the network's own, as a part of the largest: sums in another order.
const TOLERANCE: f32 = 1e-3;
/// Pictures that this is looked at with.
const COMPARED: usize = 8;
/// Bytes of weights whose engines are kept. A network of few classes needs a pass for every few features, too many to have a
/// network in memory for each; the engines of those beyond are started anew whenever there are pictures.
const KEPT: usize = 512 << 20;

/// A model whose features are wanted, on a device. It may be asked for some pictures after the others: what is started for
/// the first ones serves the next.
#[derive(Debug)]
pub struct Extractor<'a> {
    model: &'a Model,
    head: &'a Head,
    device: &'a ChosenDevice,
    options: Options,
    /// The engines of the first passes.
    kept: Vec<BurnEngine>,
    /// Whether the head was found to be what the logits come from.
    compared: bool,
}

impl<'a> Extractor<'a> {
    /// Brings up the network of `model`, whose head is `head`. The `options` should ask for f32; less would round what is
    /// passed through.
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
        let most = KEPT / model.weights().bytes().len().max(1);
        Self::keeping(most, model, head, device, options)
    }

    /// The same with no more than so many engines kept.
    fn keeping(
        most: usize,
        model: &'a Model,
        head: &'a Head,
        device: &'a ChosenDevice,
        options: Options,
    ) -> Result<Self, FinetuneError> {
        let mut extractor = Self { model, head, device, options, kept: Vec::new(), compared: false };
        for pass in 0..head.passes().min(most) {
            let engine = extractor.selecting(pass)?;
            extractor.kept.push(engine);
        }
        Ok(extractor)
    }

    /// The features of `pictures`. `progress` hears of each picture and pass.
    ///
    /// # Errors
    ///
    /// The device fails, features are not finite, or the head is not what the logits come from, which the first pictures show.
    pub fn run(&mut self, pictures: &[Sample], mut progress: impl FnMut(usize)) -> Result<Features, FinetuneError> {
        let (head, most) = (self.head, self.options.max_batch_size);
        let mut features = Features { width: head.features, values: vec![0.0; pictures.len() * head.features] };
        if pictures.is_empty() {
            return Ok(features);
        }
        for pass in 0..head.passes() {
            let passed = head.passed(pass);
            let mut engine = match self.kept.get(pass) {
                Some(kept) => kept.clone(),
                None => self.selecting(pass)?,
            };
            for (start, some) in (0..).step_by(most).zip(pictures.chunks(most)) {
                for (picture, row) in (start..).zip(engine.run(some)?) {
                    if !row.iter().all(|feature| feature.is_finite()) {
                        return Err(EngineError::Device("the features are not finite".to_string()).into());
                    }
                    let all = &mut features.values[picture * head.features..][..head.features];
                    all[passed.clone()].copy_from_slice(&row[..passed.len()]);
                }
                progress(some.len());
            }
        }
        if !self.compared {
            self.compare(&pictures[..pictures.len().min(COMPARED)], &features)?;
            self.compared = true;
        }
        Ok(features)
    }

    /// An engine whose logits are the features of a pass.
    fn selecting(&self, pass: usize) -> Result<BurnEngine, FinetuneError> {
        let weights = self.model.weights().with_head(&self.head.selector(pass))?;
        let model = self.model.with_weights(&format!("features-{pass}"), weights);
        Ok(BurnEngine::start(model, self.device, &self.options, |_| ())?)
    }

    /// Makes sure that the head gives the logits of the network.
    fn compare(&self, pictures: &[Sample], features: &Features) -> Result<(), FinetuneError> {
        let mut engine = BurnEngine::start(self.model.clone(), self.device, &self.options, |_| ())?;
        for (picture, some) in pictures.iter().enumerate() {
            let expected = engine.run(std::slice::from_ref(some))?.swap_remove(0);
            let difference = Difference::between(&logits(self.head, features.row(picture)), &expected, TOLERANCE);
            if !difference.is_allowed() {
                return Err(FinetuneError::NotTheLast(difference));
            }
        }
        Ok(())
    }
}

/// What a head makes of a picture's features.
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
    use kiln_image::PreparedImage;
    use kiln_inference::{DeviceChoice, device};

    fn picture(seed: usize) -> Sample {
        let pixels = (0..224 * 224 * 3).map(|i| (i * 7919 * seed % 256) as u8).collect();
        Sample::from(PreparedImage::new(224, 224, pixels))
    }

    #[test]
    fn features_times_the_head_are_the_logits() {
        let model = Model::named("efficientnet-lite0").unwrap();
        let head = model.weights().head(1000).unwrap();
        let device = device::choose(&DeviceChoice::Cpu).unwrap();
        let pictures: Vec<Sample> = (1..4).map(picture).collect();
        let mut seen = 0;
        let mut extractor = Extractor::start(&model, &head, &device, Options::new(2)).unwrap();
        let features = extractor.run(&pictures, |some| seen += some).unwrap();
        // Two passes for 1280 features of 1000 classes.
        assert_eq!((features.width, features.values.len(), seen), (1280, 3 * 1280, 2 * 3));
        assert_eq!(extractor.kept.len(), 2);
        let mut engine = BurnEngine::start(model.clone(), &device, &Options::new(2), |_| ()).unwrap();
        for (picture, sample) in pictures.iter().enumerate() {
            let expected = engine.run(std::slice::from_ref(sample)).unwrap().swap_remove(0);
            let difference = Difference::between(&logits(&head, features.row(picture)), &expected, 1e-5);
            assert!(difference.is_allowed(), "{difference}");
            assert!(
                features.row(picture).iter().filter(|value| **value != 0.0).count() > 100,
                "the features are zeros"
            );
        }
        // Some pictures after the others, and with one engine that is kept and one that is not.
        let mut extractor = Extractor::keeping(1, &model, &head, &device, Options::new(2)).unwrap();
        assert_eq!(extractor.kept.len(), 1);
        let none = extractor.run(&[], |_| ()).unwrap();
        assert!(none.values.is_empty() && !extractor.compared);
        let parts = [&pictures[..2], &pictures[2..]].map(|some| extractor.run(some, |_| ()).unwrap().values);
        let difference = Difference::between(&parts.concat(), &features.values, 1e-5);
        assert!(difference.is_allowed(), "{difference}");
    }

    #[test]
    fn a_head_that_is_not_the_last_layer_is_found_out() {
        let model = Model::named("efficientnet-lite0").unwrap();
        let device = device::choose(&DeviceChoice::Cpu).unwrap();
        for wrong in [1.0, f32::NAN] {
            let mut head = model.weights().head(1000).unwrap();
            head.bias[0] += wrong;
            let mut extractor = Extractor::start(&model, &head, &device, Options::new(1)).unwrap();
            let refused = extractor.run(&[picture(1)], |_| ()).unwrap_err();
            assert!(matches!(refused, FinetuneError::NotTheLast(_)), "{refused}");
        }
    }
}
