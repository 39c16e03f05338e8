//! Summarises feedback: accuracy, counts by class, confusions and calibration. Pure functions of the labelled predictions.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::record::{FeedbackKind, LabelledPrediction};

/// Maximum number of confusions in a summary.
const MAX_CONFUSIONS: usize = 20;
/// Number of calibration bins, of equal width over the probabilities from 0 to 1.
const BINS: usize = 10;

/// Summary of the feedback on a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Number of all predictions with feedback.
    pub total: usize,
    /// Number of summarised predictions: the last ones with feedback.
    pub count: usize,
    /// Number of summarised predictions for each of [`FeedbackKind::ALL`].
    pub kind_counts: [usize; 3],
    /// Number of summarised predictions whose most probable class is the true one.
    pub right: usize,
    /// Of the summarised predictions with a known true class, the fraction whose returned classes include it.
    pub top_k_accuracy: Option<f64>,
    /// Counts by predicted class, most frequent first.
    pub classes: Vec<ClassCount>,
    /// Pairs of true class and another, predicted class, most frequent first; at most twenty.
    pub confusions: Vec<Confusion>,
    /// Whether the probabilities match the accuracy.
    pub calibration: Calibration,
}

/// Counts for one predicted class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// Id and label of the predicted class.
    pub class: (u32, String),
    /// Number of predictions.
    pub count: usize,
    /// Number of right predictions.
    pub right: usize,
}

/// A class that was predicted instead of the true one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// Id and label of the true class.
    pub true_class: (u32, String),
    /// Id and label of the predicted class.
    pub predicted: (u32, String),
    /// Number of predictions.
    pub count: usize,
}

/// The numbers of a reliability diagram: of the predictions with probability 0.8, are 80 % right?
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The bins, by ascending probability.
    pub bins: Vec<CalibrationBin>,
    /// Expected calibration error: the mean over all predictions of the distance between accuracy and confidence of their
    /// bin; absent if there are no predictions. Equation 3 of C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of
    /// Modern Neural Networks", ICML 2017.
    pub expected_error: Option<f64>,
}

/// The predictions whose probability is in one tenth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CalibrationBin {
    /// Lower bound, exclusive; inclusive in the first bin.
    pub low: f64,
    /// Upper bound, inclusive.
    pub high: f64,
    /// Number of predictions.
    pub count: usize,
    /// Mean probability of the predictions; 0 if there are none.
    pub confidence: f64,
    /// Fraction of the predictions that are right; 0 if there are none.
    pub accuracy: f64,
}

impl Summary {
    /// Summarises `predictions`, out of `total`.
    pub fn new(predictions: &[LabelledPrediction], total: usize) -> Self {
        let count_kind = |kind| predictions.iter().filter(|one| one.kind == kind).count();
        let in_top_k = |one: &LabelledPrediction| one.true_class.as_ref().map(|(id, _)| one.top_classes.contains(id));
        let known: Vec<bool> = predictions.iter().filter_map(in_top_k).collect();
        Self {
            total,
            count: predictions.len(),
            kind_counts: FeedbackKind::ALL.map(count_kind),
            right: predictions.iter().filter(|one| one.is_right()).count(),
            top_k_accuracy: fraction(known.iter().filter(|is_in| **is_in).count(), known.len()),
            classes: count_classes(predictions),
            confusions: count_confusions(predictions),
            calibration: Calibration::new(predictions.iter().map(|one| (one.probability, one.is_right()))),
        }
    }

    /// Returns the fraction of the summarised predictions that are right.
    pub fn accuracy(&self) -> Option<f64> {
        fraction(self.right, self.count)
    }
}

/// Returns `part` divided by `whole`; nothing if `whole` is zero.
fn fraction(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn count_classes(predictions: &[LabelledPrediction]) -> Vec<ClassCount> {
    let mut counts: BTreeMap<&(u32, String), (usize, usize)> = BTreeMap::new();
    for one in predictions {
        let (count, right) = counts.entry(&one.predicted).or_default();
        *count += 1;
        *right += usize::from(one.is_right());
    }
    let class_count =
        |(class, (count, right)): (&(u32, String), (usize, usize))| ClassCount { class: class.clone(), count, right };
    let mut all: Vec<ClassCount> = counts.into_iter().map(class_count).collect();
    all.sort_by_key(|class| Reverse(class.count));
    all
}

fn count_confusions(predictions: &[LabelledPrediction]) -> Vec<Confusion> {
    type Class = (u32, String);
    let mut counts: BTreeMap<(&Class, &Class), usize> = BTreeMap::new();
    for one in predictions.iter().filter(|one| !one.is_right()) {
        if let Some(true_class) = &one.true_class {
            *counts.entry((true_class, &one.predicted)).or_default() += 1;
        }
    }
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by_key(|(_, count)| Reverse(*count));
    all.truncate(MAX_CONFUSIONS);
    let confusion = |((true_class, predicted), count): ((&Class, &Class), usize)| Confusion {
        true_class: true_class.clone(),
        predicted: predicted.clone(),
        count,
    };
    all.into_iter().map(confusion).collect()
}

impl Calibration {
    /// Calculates the calibration from pairs of probability and whether the prediction is right.
    pub fn new(predictions: impl Iterator<Item = (f32, bool)>) -> Self {
        let mut sums = [(0_usize, 0.0_f64, 0_usize); BINS];
        for (probability, is_right) in predictions {
            // As in the paper, a bin includes its upper bound. In f32, ten times 0.1 is exactly 1.
            let number = (probability * BINS as f32).ceil() as usize;
            let (count, confidence, right) = &mut sums[number.clamp(1, BINS) - 1];
            *count += 1;
            *confidence += f64::from(probability);
            *right += usize::from(is_right);
        }
        let total: usize = sums.iter().map(|sum| sum.0).sum();
        let bin = |(index, (count, confidence, right)): (usize, (usize, f64, usize))| {
            let mean = |sum: f64| if count == 0 { 0.0 } else { sum / count as f64 };
            let (low, high) = (index as f64 / BINS as f64, (index + 1) as f64 / BINS as f64);
            CalibrationBin { low, high, count, confidence: mean(confidence), accuracy: mean(right as f64) }
        };
        let bins: Vec<CalibrationBin> = sums.into_iter().enumerate().map(bin).collect();
        let weighted_error =
            |bin: &CalibrationBin| bin.count as f64 / total as f64 * (bin.accuracy - bin.confidence).abs();
        let expected_error = (total > 0).then(|| bins.iter().filter(|bin| bin.count > 0).map(weighted_error).sum());
        Self { bins, expected_error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{class, labelled};

    #[test]
    fn rejection_without_a_true_class_counts_for_accuracy_but_not_as_a_confusion() {
        let rows = [
            labelled(1, 0.9, FeedbackKind::Right, Some(1)),
            labelled(2, 0.8, FeedbackKind::Label, Some(1)),
            labelled(3, 0.7, FeedbackKind::Label, Some(2)),
            labelled(4, 0.6, FeedbackKind::Label, Some(3)),
            labelled(5, 0.5, FeedbackKind::Wrong, None),
        ];
        let summary = Summary::new(&rows, 9);
        assert_eq!((summary.total, summary.count, summary.right, summary.kind_counts), (9, 5, 2, [1, 1, 3]));
        assert_eq!((summary.accuracy(), summary.top_k_accuracy), (Some(0.4), Some(0.75)));
        assert_eq!(summary.classes, [ClassCount { class: class(1), count: 5, right: 2 }]);
        let pair = |id| Confusion { true_class: class(id), predicted: class(1), count: 1 };
        assert_eq!(summary.confusions, [pair(2), pair(3)]);
        assert_eq!(summary.calibration.bins.iter().map(|bin| bin.count).sum::<usize>(), 5);
    }

    #[test]
    fn empty_summary_has_no_accuracy() {
        let summary = Summary::new(&[], 0);
        let Summary { top_k_accuracy, calibration, .. } = &summary;
        assert_eq!((summary.accuracy(), *top_k_accuracy, calibration.expected_error), (None, None, None));
        assert!(summary.classes.is_empty() && summary.confusions.is_empty());
    }

    #[test]
    fn calibration_error_matches_the_formula() {
        // Two at 0.95, one right: |0.5 - 0.95| of half of all; two at 0.55, both right: |1 - 0.55| of the other half.
        let predictions = [(0.95, true), (0.95, false), (0.55, true), (0.55, true)];
        let calibration = Calibration::new(predictions.into_iter());
        assert!((calibration.expected_error.unwrap() - 0.45).abs() < 1e-6, "{calibration:?}");
        let full: Vec<(f64, usize)> =
            calibration.bins.iter().filter(|bin| bin.count > 0).map(|bin| (bin.high, bin.count)).collect();
        assert_eq!(full, [(0.6, 2), (1.0, 2)]);
    }

    #[test]
    fn calibration_bin_includes_its_upper_bound() {
        let calibration = Calibration::new([(0.0, false), (0.1, true), (1.0, true), (0.1001, true)].into_iter());
        let counts: Vec<usize> = calibration.bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        let empty = Calibration::new(std::iter::empty());
        assert_eq!((empty.expected_error, empty.bins.len()), (None, 10));
    }
}
