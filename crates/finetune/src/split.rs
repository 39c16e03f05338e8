//! Which pictures train, which say when to stop, and which judge. The last ones are used for nothing else, so that what is told
//! of them holds for pictures that nobody has seen.

use std::collections::BTreeMap;

use super::distinct::{Digest, Picture};

/// Indices of pictures, each in one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// What the head is trained on.
    pub training: Vec<usize>,
    /// What says when more training would not help.
    pub stopping: Vec<usize>,
    /// What it is judged by.
    pub held_out: Vec<usize>,
}

/// Of each class the part `held_out` of its pictures judges, and the same part of the rest stops. What is left over of a class
/// by rounding down goes to the next one, so that the part is kept on the whole, however few pictures each class has. At least
/// one picture of each class trains.
///
/// Which ones is decided by a hash of their pixels and `seed`, so the same pictures give the same split, in whatever order they
/// come.
pub fn split(pictures: &[Picture], held_out: f64, seed: u64) -> Split {
    let mut classes: BTreeMap<usize, Vec<(u64, usize)>> = BTreeMap::new();
    for (index, picture) in pictures.iter().enumerate() {
        classes.entry(picture.class).or_default().push((hash(&picture.digest, seed), index));
    }
    let mut split = Split::default();
    let (mut judging, mut stopping) = (Share::of(held_out), Share::of(held_out));
    for mut members in classes.into_values() {
        members.sort_unstable();
        let judge = judging.take(members.len());
        let stop = stopping.take(members.len() - judge);
        let mut indices = members.into_iter().map(|(_, index)| index);
        split.held_out.extend(indices.by_ref().take(judge));
        split.stopping.extend(indices.by_ref().take(stop));
        split.training.extend(indices);
    }
    split
}

/// A part of several numbers in whole ones, which carries what rounding leaves over from one to the next.
struct Share {
    part: f64,
    left: f64,
}

impl Share {
    fn of(part: f64) -> Self {
        Self { part, left: 0.0 }
    }

    /// The part of so many, which leaves at least one.
    fn take(&mut self, of: usize) -> usize {
        // Five times 0.2 is a whole one.
        const ROUNDING: f64 = 1e-9;
        self.left += of as f64 * self.part;
        let taken = ((self.left + ROUNDING).floor() as usize).min(of.saturating_sub(1));
        // What a class is too small to give is not taken from those that come after it.
        self.left = (self.left - taken as f64).min(1.0);
        taken
    }
}

/// FNV-1a (Fowler, Noll, Vo) of the picture's digest, begun with the seed, and mixed as MurmurHash3 ends: the same on every
/// machine.
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

    /// So many pictures of each class.
    fn pictures(counts: &[usize]) -> Vec<Picture> {
        let of = |(class, count): (usize, &usize)| {
            (0..*count).map(move |n| {
                let mut digest = [class as u8; 32];
                digest[0] = n as u8;
                Picture { digest, class }
            })
        };
        counts.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn each_class_gives_its_part_and_no_picture_is_in_two() {
        let pictures = pictures(&[10, 4, 25]);
        let split = split(&pictures, 0.2, 0);
        let of = |indices: &[usize], class| indices.iter().filter(|index| pictures[**index].class == class).count();
        assert_eq!([0, 1, 2].map(|class| of(&split.held_out, class)), [2, 0, 5]);
        assert_eq!([0, 1, 2].map(|class| of(&split.stopping, class)), [1, 1, 4]);
        let mut all = [split.training, split.stopping, split.held_out].concat();
        all.sort_unstable();
        assert_eq!(all, (0..39).collect::<Vec<_>>());
    }

    #[test]
    fn many_classes_of_few_pictures_give_their_part_together() {
        for (count, classes) in [(4, 30), (2, 40), (3, 100)] {
            let pictures = pictures(&vec![count; classes]);
            let split = split(&pictures, 0.2, 7);
            assert_eq!(split.held_out.len(), count * classes / 5, "{count} of {classes}");
            assert!(!split.stopping.is_empty(), "{count} of {classes}");
            let trained: std::collections::BTreeSet<usize> =
                split.training.iter().map(|index| pictures[*index].class).collect();
            assert_eq!(trained.len(), classes, "a class is not trained");
        }
        // Many that can give nothing do not take it from those that can.
        let counts: Vec<usize> = std::iter::repeat_n(1, 100).chain([40]).collect();
        let uneven = split(&pictures(&counts), 0.2, 0);
        assert!(uneven.training.len() >= 100 + 20, "{} train", uneven.training.len());
        assert!((8..=10).contains(&uneven.held_out.len()), "{} are held out", uneven.held_out.len());
        // There is nothing to ask about a class that nothing is trained on.
        assert_eq!(split(&pictures(&[1; 50]), 0.2, 0).training.len(), 50);
    }

    #[test]
    fn the_split_is_the_same_in_any_order_and_another_with_another_seed() {
        let forwards = pictures(&[40]);
        let backwards: Vec<Picture> = forwards.iter().rev().copied().collect();
        let judged = |pictures: &[Picture], seed| {
            let mut digests: Vec<_> =
                split(pictures, 0.25, seed).held_out.into_iter().map(|index| pictures[index].digest).collect();
            digests.sort_unstable();
            digests
        };
        assert_eq!(judged(&forwards, 1), judged(&backwards, 1));
        assert_ne!(judged(&forwards, 1), judged(&forwards, 2));
    }
}
