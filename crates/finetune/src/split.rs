//! Splits the images into a training set, a validation set that decides when training stops, and a held-out set. The held-out set
//! is used only for the final evaluation, so the evaluation also holds for unseen images.

use std::collections::BTreeMap;

use crate::images::{Digest, LabelledImage};

/// Indices of images; each image is in one of the three sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Images that the head is trained on.
    pub training: Vec<usize>,
    /// Images whose loss decides when training stops.
    pub validation: Vec<usize>,
    /// Images for the final evaluation.
    pub held_out: Vec<usize>,
}

/// Splits the images of each class: the fraction `held_out` is held out, and the same fraction of the rest is for validation. The
/// remainder of rounding down carries over to the next class, so the fraction holds overall, even if each class has few images.
/// At least one image of each class is for training.
///
/// The selection depends on a hash of the pixels and on `seed`, so the same images always have the same split, in any order.
pub fn split(images: &[LabelledImage], held_out: f64, seed: u64) -> Split {
    let mut classes: BTreeMap<usize, Vec<(u64, usize)>> = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        classes.entry(image.class).or_default().push((hash(&image.digest, seed), index));
    }
    let mut split = Split::default();
    let (mut held_out, mut validation) = (CarriedFraction::new(held_out), CarriedFraction::new(held_out));
    for mut members in classes.into_values() {
        members.sort_unstable();
        let held_out_count = held_out.take(members.len());
        let validation_count = validation.take(members.len() - held_out_count);
        let mut indices = members.into_iter().map(|(_, index)| index);
        split.held_out.extend(indices.by_ref().take(held_out_count));
        split.validation.extend(indices.by_ref().take(validation_count));
        split.training.extend(indices);
    }
    split
}

/// Takes a fraction of several counts in whole numbers, and carries the remainder from one count to the next.
struct CarriedFraction {
    fraction: f64,
    remainder: f64,
}

impl CarriedFraction {
    fn new(fraction: f64) -> Self {
        Self { fraction, remainder: 0.0 }
    }

    /// Returns the fraction of `count`, which is less than `count`.
    fn take(&mut self, count: usize) -> usize {
        // Without this, rounding errors could make 5 * 0.2 less than 1.
        const ROUNDING: f64 = 1e-9;
        self.remainder += count as f64 * self.fraction;
        let taken = ((self.remainder + ROUNDING).floor() as usize).min(count.saturating_sub(1));
        // A deficit of small classes is not taken from later classes.
        self.remainder = (self.remainder - taken as f64).min(1.0);
        taken
    }
}

/// Hashes the seed and the image's digest with FNV-1a (Fowler, Noll, Vo), and mixes the result with steps of MurmurHash3's
/// finaliser. The result is the same on every machine.
fn hash(digest: &Digest, seed: u64) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(digest.iter().copied());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the given number of images of each class.
    fn images(counts: &[usize]) -> Vec<LabelledImage> {
        let class_images = |(class, count): (usize, &usize)| {
            (0..*count).map(move |n| {
                let mut digest = [class as u8; 32];
                digest[0] = n as u8;
                LabelledImage { digest, class }
            })
        };
        counts.iter().enumerate().flat_map(class_images).collect()
    }

    #[test]
    fn each_class_is_split_by_the_fraction_and_no_image_is_in_two_sets() {
        let images = images(&[10, 4, 25]);
        let split = split(&images, 0.2, 0);
        let count = |indices: &[usize], class| indices.iter().filter(|index| images[**index].class == class).count();
        assert_eq!([0, 1, 2].map(|class| count(&split.held_out, class)), [2, 0, 5]);
        assert_eq!([0, 1, 2].map(|class| count(&split.validation, class)), [1, 1, 4]);
        let mut all = [split.training, split.validation, split.held_out].concat();
        all.sort_unstable();
        assert_eq!(all, (0..39).collect::<Vec<_>>());
    }

    #[test]
    fn fraction_holds_over_many_small_classes() {
        for (count, classes) in [(4, 30), (2, 40), (3, 100)] {
            let images = images(&vec![count; classes]);
            let split = split(&images, 0.2, 7);
            assert_eq!(split.held_out.len(), count * classes / 5, "{count} of {classes}");
            assert!(!split.validation.is_empty(), "{count} of {classes}");
            let trained: std::collections::BTreeSet<usize> =
                split.training.iter().map(|index| images[*index].class).collect();
            assert_eq!(trained.len(), classes, "a class has no training image");
        }
        // Many classes with one image each do not increase the share taken from a large class.
        let counts: Vec<usize> = std::iter::repeat_n(1, 100).chain([40]).collect();
        let uneven = split(&images(&counts), 0.2, 0);
        assert!(uneven.training.len() >= 100 + 20, "{} train", uneven.training.len());
        assert!((8..=10).contains(&uneven.held_out.len()), "{} are held out", uneven.held_out.len());
        // The only image of a class is for training.
        assert_eq!(split(&images(&[1; 50]), 0.2, 0).training.len(), 50);
    }

    #[test]
    fn split_depends_on_the_seed_but_not_on_the_order() {
        let forwards = images(&[40]);
        let backwards: Vec<LabelledImage> = forwards.iter().rev().copied().collect();
        let held_out = |images: &[LabelledImage], seed| {
            let mut digests: Vec<_> =
                split(images, 0.25, seed).held_out.into_iter().map(|index| images[index].digest).collect();
            digests.sort_unstable();
            digests
        };
        assert_eq!(held_out(&forwards, 1), held_out(&backwards, 1));
        assert_ne!(held_out(&forwards, 1), held_out(&forwards, 2));
    }
}
