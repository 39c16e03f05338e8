//! What the frozen network makes of pictures: the numbers that its last layer takes.
//!
//! The generated network gives only logits, so the ordinary engine is run with heads that let the features through
//! ([`Head::selectors`]), as many at a time as there are classes. Nothing is rounded by that.

use model_import::Head;

use super::FinetuneError;
use crate::inference::{BurnEngine, ChosenDevice, Difference, Engine, Options, Sample};
use crate::model::Model;

/// Logits computed from features may be so far from the network's own, as a part of the largest: sums in another order.
const TOLERANCE: f32 = 1e-3;
/// Pictures that this is looked at with.
const COMPARED: usize = 8;

/// Features of some pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// How many each picture has.
    pub width: usize,
    /// `[pictures, width]`, one row a picture.
    pub values: Vec<f32>,
}

impl Features {
    /// Those of one picture.
    pub fn row(&self, picture: usize) -> &[f32] {
        &self.values[picture * self.width..][..self.width]
    }
}

/// The features of `pictures` in the network of `model`, whose head is `head`. `progress` hears of each picture and pass. The
/// `options` should ask for f32; less would round what is passed through.
///
/// # Errors
///
/// The device fails, or the head is not what the logits come from.
pub fn extract(
    model: &Model,
    head: &Head,
    device: &ChosenDevice,
    options: &Options,
    pictures: &[Sample],
    mut progress: impl FnMut(usize),
) -> Result<Features, FinetuneError> {
    let mut features = Features { width: head.features, values: vec![0.0; pictures.len() * head.features] };
    for (pass, selector) in head.selectors().enumerate() {
        let (first, count) = (pass * head.classes, head.classes.min(head.features - pass * head.classes));
        let weights = model.weights().with_head(&selector)?;
        let mut engine =
            BurnEngine::start(model.with_weights(&format!("features-{pass}"), weights), device, options, |_| ())?;
        for (start, some) in (0..).step_by(options.max_batch_size).zip(pictures.chunks(options.max_batch_size)) {
            for (picture, row) in (start..).zip(engine.run(some)?) {
                features.values[picture * head.features + first..][..count].copy_from_slice(&row[..count]);
            }
            progress(some.len());
        }
    }
    let compared = &pictures[..pictures.len().min(COMPARED)];
    let mut engine = BurnEngine::start(model.clone(), device, options, |_| ())?;
    for (picture, some) in compared.iter().enumerate() {
        let expected = engine.run(std::slice::from_ref(some))?.swap_remove(0);
        let difference = Difference::between(&logits(head, features.row(picture)), &expected, TOLERANCE);
        if !difference.is_allowed() {
            return Err(FinetuneError::NotTheLast(difference));
        }
    }
    Ok(features)
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
    use crate::image::PreparedImage;
    use crate::inference::{DeviceChoice, device};

    #[test]
    fn features_times_the_head_are_the_logits() {
        let model = Model::named("efficientnet-lite0").unwrap();
        let head = model.weights().head(1000).unwrap();
        let device = device::choose(&DeviceChoice::Cpu).unwrap();
        let picture = |seed: usize| {
            let pixels = (0..224 * 224 * 3).map(|i| (i * 7919 * seed % 256) as u8).collect();
            Sample::from(PreparedImage::new(224, 224, pixels))
        };
        let pictures: Vec<Sample> = (1..4).map(picture).collect();
        let mut seen = 0;
        let features = extract(&model, &head, &device, &Options::new(2), &pictures, |some| seen += some).unwrap();
        // Two passes for 1280 features of 1000 classes.
        assert_eq!((features.width, features.values.len(), seen), (1280, 3 * 1280, 2 * 3));
        let mut engine = BurnEngine::start(model, &device, &Options::new(2), |_| ()).unwrap();
        for (picture, sample) in pictures.iter().enumerate() {
            let expected = engine.run(std::slice::from_ref(sample)).unwrap().swap_remove(0);
            let difference = Difference::between(&logits(&head, features.row(picture)), &expected, 1e-5);
            assert!(difference.is_allowed(), "{difference}");
            assert!(
                features.row(picture).iter().filter(|value| **value != 0.0).count() > 100,
                "the features are zeros"
            );
        }
    }

    #[test]
    fn a_head_that_is_not_the_last_layer_is_found_out() {
        let model = Model::named("efficientnet-lite0").unwrap();
        let device = device::choose(&DeviceChoice::Cpu).unwrap();
        let picture = Sample::from(PreparedImage::new(224, 224, vec![128; 224 * 224 * 3].into()));
        for wrong in [1.0, f32::NAN] {
            let mut head = model.weights().head(1000).unwrap();
            head.bias[0] += wrong;
            let pictures = std::slice::from_ref(&picture);
            let refused = extract(&model, &head, &device, &Options::new(1), pictures, |_| ()).unwrap_err();
            assert!(matches!(refused, FinetuneError::NotTheLast(_)), "{refused}");
        }
    }
}
