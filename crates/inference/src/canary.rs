//! The canary: a picture whose logits are known. A device that answers it wrongly is sick, whatever it says of itself.

use std::fmt;

use super::engine::{Logits, Sample};
use super::precision::Precision;
use crate::model::Model;
use kiln_image::{CropRegion, Filter, PreprocessedImage};

/// The picture and its logits.
#[derive(Clone, Debug)]
pub(super) struct Canary {
    picture: Sample,
    expected: Logits,
    precision: Precision,
}

impl Canary {
    /// `known` are the right logits.
    pub(super) fn new(model: &Model, known: Logits, precision: Precision) -> Self {
        Self { picture: picture(model), expected: known, precision }
    }

    /// What to run.
    pub(super) fn picture(&self) -> &Sample {
        &self.picture
    }

    /// How far an answer is from the logits that are known, and how far it may be.
    pub(super) fn difference(&self, answer: &Logits) -> Difference {
        Difference::between(answer, &self.expected, self.precision.tolerance())
    }

    /// Compares an answer with the logits that are known.
    ///
    /// # Errors
    ///
    /// A sentence that says how far they are apart.
    pub(super) fn check(&self, answer: &Logits) -> Result<(), String> {
        let difference = self.difference(answer);
        if difference.is_allowed() { Ok(()) } else { Err(format!("the canary's logits are {difference}")) }
    }
}

/// How far logits are from the right ones. It is shown as the end of a sentence: `off by ...`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The largest difference of two logits; infinite if one is no number, or some are missing.
    pub largest: f32,
    /// The largest that another order of sums explains, at the precision that they were computed in.
    pub allowed: f32,
}

impl Difference {
    /// How far `ours` are from the `right` ones, where `tolerance` is allowed: a part of the largest right one, or of 1 if
    /// that is less.
    pub fn between(ours: &[f32], right: &[f32], tolerance: f32) -> Self {
        let scale = right.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
        let differences = ours.iter().zip(right).map(|(ours, right)| (ours - right).abs());
        // NaN is no difference that `max` would tell.
        let largest = differences.fold(0.0_f32, |most, now| if now.is_nan() { f32::INFINITY } else { most.max(now) });
        let largest = if ours.len() == right.len() { largest } else { f32::INFINITY };
        Self { largest, allowed: tolerance * scale }
    }

    /// Whether the device computes rightly.
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

/// The synthetic picture of `model-import/export/images.py`, of the model's size.
pub(super) fn picture(model: &Model) -> Sample {
    let (width, height) = (model.spec().width, model.spec().height);
    let pixels = (0..width as usize * height as usize * 3).map(|i| (i * 7919 % 256) as u8).collect();
    PreprocessedImage::new(width, height, pixels).into()
}

/// A picture that is still to be resized, of no more than so many bytes.
pub(super) fn cutout(bytes: usize) -> Sample {
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
    fn wrong_numbers_and_wrong_counts_are_found() {
        let model = Model::all().next().unwrap();
        let canary = Canary::new(&model, Box::new([10.0, -2.0, 0.5]), Precision::F32);
        canary.check(&Logits::from([10.0005, -2.0, 0.5])).unwrap();
        for wrong in [&[10.1, -2.0, 0.5][..], &[10.0, -2.0, f32::NAN], &[10.0, -2.0], &[10.0, -2.0, 0.5, 0.0]] {
            assert!(canary.check(&Logits::from(wrong)).is_err(), "{wrong:?}");
        }
        let rough = Canary::new(&model, Box::new([10.0, -2.0, 0.5]), Precision::F16);
        rough.check(&Logits::from([10.1, -2.0, 0.5])).unwrap();
    }
}
