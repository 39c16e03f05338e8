//! The self-test: an engine runs a synthetic image whose correct logits are known. A faulty device often returns wrong
//! numbers without reporting an error.

use std::fmt;

use kiln_image::{CropRegion, Filter, PreprocessedImage};

use super::engine::{Logits, Sample};
use super::options::Precision;
use crate::model::Model;

/// The synthetic image and its reference logits.
#[derive(Clone, Debug)]
pub(super) struct SelfTest {
    image: Sample,
    reference: Logits,
    precision: Precision,
}

impl SelfTest {
    /// Creates a self-test of `model` that compares with `reference` logits.
    pub(super) fn new(model: &Model, reference: Logits, precision: Precision) -> Self {
        Self { image: synthetic_image(model), reference, precision }
    }

    /// Returns the image to run.
    pub(super) fn image(&self) -> &Sample {
        &self.image
    }

    /// Compares logits with the reference logits.
    pub(super) fn difference(&self, logits: &Logits) -> Difference {
        Difference::between(logits, &self.reference, self.precision.tolerance())
    }

    /// Fails if logits differ too much from the reference logits.
    ///
    /// # Errors
    ///
    /// A sentence with the difference.
    pub(super) fn check(&self, logits: &Logits) -> Result<(), String> {
        let difference = self.difference(logits);
        if difference.is_allowed() { Ok(()) } else { Err(format!("the logits of the self-test are {difference}")) }
    }
}

/// The difference between logits and the reference logits. Its text form ends a sentence: `off by ...`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The largest absolute difference of two logits; infinite if one is not finite, or the numbers of logits differ.
    pub largest: f32,
    /// The largest difference that another order of summation explains, at the precision of the computation.
    pub allowed: f32,
}

impl Difference {
    /// Compares `logits` with `reference`. `tolerance` is relative to the largest absolute reference logit, or to 1 if that
    /// is larger.
    pub fn between(logits: &[f32], reference: &[f32], tolerance: f32) -> Self {
        let scale = reference.iter().fold(1.0_f32, |max, value| max.max(value.abs()));
        let differences = logits.iter().zip(reference).map(|(logit, reference)| (logit - reference).abs());
        // `f32::max` ignores NaN, so NaN becomes infinity first.
        let largest = differences.fold(0.0_f32, |max, next| if next.is_nan() { f32::INFINITY } else { max.max(next) });
        let largest = if logits.len() == reference.len() { largest } else { f32::INFINITY };
        Self { largest, allowed: tolerance * scale }
    }

    /// Returns true if the difference is within the tolerance.
    pub fn is_allowed(&self) -> bool {
        self.largest <= self.allowed
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { largest, allowed } = self;
        write!(f, "off by {largest:e}; {allowed:e} is allowed")
    }
}

/// Returns the synthetic image of `model-import/export/images.py`, in the model's input size.
pub(super) fn synthetic_image(model: &Model) -> Sample {
    let (width, height) = (model.spec().width, model.spec().height);
    let pixels = (0..width as usize * height as usize * 3).map(|i| (i * 7919 % 256) as u8).collect();
    PreprocessedImage::new(width, height, pixels).into()
}

/// Returns a synthetic crop region of at most `bytes`, which the device resizes.
pub(super) fn synthetic_crop(bytes: usize) -> Sample {
    let side = (bytes / 3).isqrt().max(1);
    let pixels: Vec<u8> = (0..side * side * 3).map(|i| (i * 7919 % 256) as u8).collect();
    Sample::CropRegion(CropRegion {
        pixels: pixels.into(),
        size: [side as u32; 2],
        start: [0, 0],
        length: [side as u32; 2],
        swapped: false,
        mirrored: [false, false],
        rows_first: true,
        filter: Filter::Bicubic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_logits_and_wrong_counts_fail_the_self_test() {
        let model = Model::all().next().unwrap();
        let exact = SelfTest::new(&model, Box::new([10.0, -2.0, 0.5]), Precision::F32);
        exact.check(&Logits::from([10.0005, -2.0, 0.5])).unwrap();
        for wrong in [&[10.1, -2.0, 0.5][..], &[10.0, -2.0, f32::NAN], &[10.0, -2.0], &[10.0, -2.0, 0.5, 0.0]] {
            assert!(exact.check(&Logits::from(wrong)).is_err(), "{wrong:?}");
        }
        let tolerant = SelfTest::new(&model, Box::new([10.0, -2.0, 0.5]), Precision::F16);
        tolerant.check(&Logits::from([10.1, -2.0, 0.5])).unwrap();
    }
}
