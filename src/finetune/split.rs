//! Which pictures train, which say when to stop, and which judge. The last ones are used for nothing else, so that what is told
//! of them holds for pictures that nobody has seen.

use std::collections::BTreeMap;
use std::path::Path;

use super::Corrected;

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

/// Of each class the part `held_out` of its pictures, rounded down, judges, and the same part of the rest stops. A class
/// of few pictures has all of them for training.
///
/// Which ones is decided by a hash of their names and `seed`, so the same pictures give the same split, in whatever order they
/// come, and one more picture moves few of the others.
pub fn split(pictures: &[Corrected], held_out: f64, seed: u64) -> Split {
    let mut classes: BTreeMap<usize, Vec<(u64, usize)>> = BTreeMap::new();
    for (index, picture) in pictures.iter().enumerate() {
        classes.entry(picture.class).or_default().push((hash(&picture.path, seed), index));
    }
    let mut split = Split::default();
    for mut members in classes.into_values() {
        members.sort_unstable();
        let part = |of: usize| (of as f64 * held_out).floor() as usize;
        let judging = part(members.len());
        let stopping = part(members.len() - judging);
        let mut indices = members.into_iter().map(|(_, index)| index);
        split.held_out.extend(indices.by_ref().take(judging));
        split.stopping.extend(indices.by_ref().take(stopping));
        split.training.extend(indices);
    }
    split
}

/// FNV-1a (Fowler, Noll, Vo) of the file's name, begun with the seed, and mixed as MurmurHash3 ends: the same on every machine.
/// The name is the SHA-256 of what is in the file.
fn hash(path: &Path, seed: u64) -> u64 {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let bytes = seed.to_le_bytes().into_iter().chain(name.iter().copied());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many pictures of each class.
    fn pictures(counts: &[usize]) -> Vec<Corrected> {
        let of = |(class, count): (usize, &usize)| {
            (0..*count).map(move |n| Corrected { path: format!("x/{class}-{n}.jpg").into(), class })
        };
        counts.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn each_class_gives_its_part_and_no_picture_is_in_two() {
        let pictures = pictures(&[10, 4, 25]);
        let split = split(&pictures, 0.2, 0);
        let of = |indices: &[usize], class| indices.iter().filter(|index| pictures[**index].class == class).count();
        assert_eq!([0, 1, 2].map(|class| of(&split.held_out, class)), [2, 0, 5]);
        assert_eq!([0, 1, 2].map(|class| of(&split.stopping, class)), [1, 0, 4]);
        let mut all = [split.training, split.stopping, split.held_out].concat();
        all.sort_unstable();
        assert_eq!(all, (0..39).collect::<Vec<_>>());
    }

    #[test]
    fn the_split_is_the_same_in_any_order_and_another_with_another_seed() {
        let forwards = pictures(&[40]);
        let backwards: Vec<Corrected> = forwards.iter().rev().cloned().collect();
        let judged = |pictures: &[Corrected], seed| {
            let mut paths: Vec<_> =
                split(pictures, 0.25, seed).held_out.into_iter().map(|index| pictures[index].path.clone()).collect();
            paths.sort();
            paths
        };
        assert_eq!(judged(&forwards, 1), judged(&backwards, 1));
        assert_ne!(judged(&forwards, 1), judged(&forwards, 2));
    }
}
