//! Measures how the recent predictions of a model differ from its first ones.
//!
//! *Confidence drift* is the difference of the mean top-1 probabilities, recent minus reference. A negative value means that the
//! model has become less confident, as happens when the images differ from earlier ones.
//!
//! *Class drift* is the Jensen-Shannon divergence of the predicted classes in the two windows, in bits, from 0 (the same
//! distribution) to 1 (no class in common): the mean of the Kullback-Leibler divergences of both from their average (J. Lin,
//! "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37(1), 1991). It is also defined
//! for classes that one window lacks. With a thousand classes and a thousand predictions, chance alone would look like drift.
//! Therefore the distribution is taken over the most frequent classes of the reference, plus one entry for all other classes.
//! Two windows of a thousand predictions from the same source then differ by about 0.007.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// Maximum number of predictions in each window.
pub(crate) const WINDOW_LENGTH: usize = 1000;

/// Number of reference classes that are distinguished.
const FREQUENT_CLASSES: usize = 20;

/// The reference window has the first predictions of a model, the recent window has the last ones. Up to [`WINDOW_LENGTH`]
/// predictions, both windows are equal and there is no drift.
#[derive(Debug, Default)]
pub(crate) struct PredictionWindows {
    /// Class id and probability.
    reference: Vec<(u32, f32)>,
    recent: VecDeque<(u32, f32)>,
    /// The number of the next prediction. Each prediction of a model has its own number.
    next_number: u64,
}

impl PredictionWindows {
    /// Adds a prediction to the reference window.
    pub(crate) fn push_reference(&mut self, class_id: u32, probability: f32) {
        self.reference.push((class_id, probability));
    }

    /// Returns the number of predictions in the reference window.
    pub(crate) fn reference_count(&self) -> usize {
        self.reference.len()
    }

    /// Returns the number of the next prediction.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Adds the prediction with this number to the recent window.
    pub(crate) fn push_recent(&mut self, number: u64, class_id: u32, probability: f32) {
        self.next_number = number + 1;
        if self.recent.len() == WINDOW_LENGTH {
            self.recent.pop_front();
        }
        self.recent.push_back((class_id, probability));
    }

    /// Returns confidence drift and class drift.
    pub(crate) fn drift(&self) -> (f64, f64) {
        let confidence = mean(self.recent.iter().map(|(_, probability)| *probability))
            - mean(self.reference.iter().map(|(_, probability)| *probability));
        let classes = class_drift(self.reference.iter().map(|(id, _)| *id), self.recent.iter().map(|(id, _)| *id));
        (confidence, classes)
    }
}

/// Returns the mean, or 0 if there are no values.
fn mean(values: impl Iterator<Item = f32>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + f64::from(value), count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// Returns the class drift, or 0 if a window is empty.
fn class_drift(reference: impl Iterator<Item = u32>, recent: impl Iterator<Item = u32>) -> f64 {
    let (reference, recent) = (counts(reference), counts(recent));
    let mut frequent: Vec<(u32, u32)> = reference.iter().map(|(class, count)| (*count, *class)).collect();
    frequent.sort_unstable_by_key(|(count, class)| (Reverse(*count), *class));
    frequent.truncate(FREQUENT_CLASSES);
    let distribution = |counts: &BTreeMap<u32, u32>| -> Option<Vec<f64>> {
        let total = f64::from(counts.values().sum::<u32>());
        let fraction = |(_, class): &(u32, u32)| f64::from(counts.get(class).copied().unwrap_or(0)) / total;
        let mut fractions: Vec<f64> = frequent.iter().map(fraction).collect();
        fractions.push((1.0 - fractions.iter().sum::<f64>()).max(0.0));
        (total > 0.0).then_some(fractions)
    };
    distribution(&reference)
        .zip(distribution(&recent))
        .map_or(0.0, |(reference, recent)| jensen_shannon_divergence(&reference, &recent))
}

fn counts(classes: impl Iterator<Item = u32>) -> BTreeMap<u32, u32> {
    classes.fold(BTreeMap::new(), |mut counts, class| {
        *counts.entry(class).or_default() += 1;
        counts
    })
}

/// Returns the Jensen-Shannon divergence of two distributions over the same entries, in bits.
fn jensen_shannon_divergence(one: &[f64], other: &[f64]) -> f64 {
    // An entry with probability zero contributes nothing.
    let term = |fraction: f64, middle: f64| if fraction > 0.0 { fraction * (fraction / middle).log2() } else { 0.0 };
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
    fn there_is_no_drift_until_the_reference_is_full() {
        let mut windows = PredictionWindows::default();
        assert_eq!(windows.drift(), (0.0, 0.0));
        for index in 0..WINDOW_LENGTH as u32 {
            windows.push_reference(index % 7, 0.9);
            windows.push_recent(u64::from(index), index % 7, 0.9);
        }
        assert_eq!(windows.drift(), (0.0, 0.0));
        for _ in 0..WINDOW_LENGTH / 2 {
            windows.push_recent(windows.next_number(), 8, 0.5);
        }
        let (confidence, classes) = windows.drift();
        assert!((confidence + 0.2).abs() < 1e-6, "{confidence}");
        assert!((0.2..0.6).contains(&classes), "{classes}");
        for _ in 0..WINDOW_LENGTH / 2 {
            windows.push_recent(windows.next_number(), 8, 0.5);
        }
        // The windows have no class in common: one bit.
        let (confidence, classes) = windows.drift();
        assert!((confidence + 0.4).abs() < 1e-6 && (classes - 1.0).abs() < 1e-9, "{confidence} {classes}");
        assert_eq!(windows.recent.len(), WINDOW_LENGTH);
    }

    #[test]
    fn divergence_matches_a_calculation_by_hand() {
        assert_eq!(jensen_shannon_divergence(&[0.5, 0.5], &[0.5, 0.5]), 0.0);
        assert_eq!(jensen_shannon_divergence(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
        // 1/2 (log2(4/3)) + 1/2 (1/2 log2(2/3) + 1/2 log2(2)) = 0.3112781.
        assert!((jensen_shannon_divergence(&[1.0, 0.0], &[0.5, 0.5]) - 0.311_278_1).abs() < 1e-6);
    }

    #[test]
    fn random_predictions_of_many_classes_have_little_drift() {
        // A multiplicative generator is random enough here.
        let mut state = 1_u64;
        let mut draw = || {
            state = state * 48271 % 0x7fff_ffff;
            (state % 1000) as u32
        };
        let [one, other]: [Vec<u32>; 2] = std::array::from_fn(|_| (0..1000).map(|_| draw()).collect());
        let drift = class_drift(one.iter().copied(), other.iter().copied());
        assert!(drift < 0.05, "{drift}");
        assert_eq!(class_drift(one.iter().copied(), std::iter::empty()), 0.0);
    }

    #[test]
    fn mean_of_no_values_is_zero() {
        assert_eq!(mean(std::iter::empty()), 0.0);
        assert_eq!(mean([0.25, 0.75].into_iter()), 0.5);
    }
}
