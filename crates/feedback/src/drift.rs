//! How far two windows of predictions are apart. Pure functions.
//!
//! *Drift of confidence* is the difference of the means of the top-1 probability, recent minus reference: below zero the model
//! has become less sure than it was, as it does when pictures come that are unlike those of before.
//!
//! *Drift of the classes* is the Jensen-Shannon divergence of the predicted classes in the two windows, in bits, so from 0 (the
//! same mix) to 1 (nothing in common): the mean of the Kullback-Leibler divergences of both from their average (J. Lin,
//! "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37(1), 1991). It needs no
//! special care of classes that one window lacks. With a thousand classes and a thousand predictions chance alone would look
//! like drift, so the mix is taken over the most frequent classes of the reference and one part for all others; two windows of
//! a thousand from the same source are then about 0.007 apart.

use std::collections::BTreeMap;

/// Classes of the reference that are told apart.
const CLASSES: usize = 20;

/// The mean; 0 of nothing.
pub(super) fn mean(values: impl Iterator<Item = f32>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + f64::from(value), count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// Drift of the classes; 0 while one window is empty.
pub(super) fn classes(reference: impl Iterator<Item = u32>, recent: impl Iterator<Item = u32>) -> f64 {
    let (reference, recent) = (counts(reference), counts(recent));
    let mut frequent: Vec<(u32, u32)> = reference.iter().map(|(class, count)| (*count, *class)).collect();
    frequent.sort_unstable_by_key(|(count, class)| (std::cmp::Reverse(*count), *class));
    frequent.truncate(CLASSES);
    let mix = |counts: &BTreeMap<u32, u32>| -> Option<Vec<f64>> {
        let all = f64::from(counts.values().sum::<u32>());
        let part = |(_, class): &(u32, u32)| f64::from(counts.get(class).copied().unwrap_or(0)) / all;
        let mut parts: Vec<f64> = frequent.iter().map(part).collect();
        parts.push((1.0 - parts.iter().sum::<f64>()).max(0.0));
        (all > 0.0).then_some(parts)
    };
    mix(&reference).zip(mix(&recent)).map_or(0.0, |(reference, recent)| divergence(&reference, &recent))
}

fn counts(classes: impl Iterator<Item = u32>) -> BTreeMap<u32, u32> {
    classes.fold(BTreeMap::new(), |mut counts, class| {
        *counts.entry(class).or_default() += 1;
        counts
    })
}

/// The Jensen-Shannon divergence of two distributions over the same parts, in bits.
fn divergence(one: &[f64], other: &[f64]) -> f64 {
    // What has no probability adds nothing.
    let term = |part: f64, middle: f64| if part > 0.0 { part * (part / middle).log2() } else { 0.0 };
    let sum: f64 = one
        .iter()
        .zip(other)
        .map(|(one, other)| {
            let middle = f64::midpoint(*one, *other);
            term(*one, middle) + term(*other, middle)
        })
        .sum();
    (sum / 2.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_divergence_is_found() {
        assert_eq!(divergence(&[0.5, 0.5], &[0.5, 0.5]), 0.0);
        assert_eq!(divergence(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
        // By hand: 1/2 (log2(4/3)) + 1/2 (1/2 log2(2/3) + 1/2 log2(2)) = 0.3112781.
        assert!((divergence(&[1.0, 0.0], &[0.5, 0.5]) - 0.311_278_1).abs() < 1e-6);
    }

    #[test]
    fn chance_alone_is_little_drift_even_with_many_classes() {
        // A multiplicative generator; its numbers are as good as chance here.
        let mut state = 1_u64;
        let mut draw = || {
            state = state * 48271 % 0x7fff_ffff;
            (state % 1000) as u32
        };
        let [one, other]: [Vec<u32>; 2] = std::array::from_fn(|_| (0..1000).map(|_| draw()).collect());
        let drift = classes(one.iter().copied(), other.iter().copied());
        assert!(drift < 0.05, "{drift}");
        assert_eq!(classes(one.iter().copied(), std::iter::empty()), 0.0);
    }

    #[test]
    fn means_of_nothing_are_zero() {
        assert_eq!(mean(std::iter::empty()), 0.0);
        assert_eq!(mean([0.25, 0.75].into_iter()), 0.5);
    }
}
