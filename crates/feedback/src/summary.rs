//! How often judged predictions were right: in all, by class, and what was taken for what. A pure function of the rows.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::calibration::Calibration;
use super::judged::Judged;
use super::record::Verdict;

/// The most pairs that are told.
const PAIRS: usize = 20;

/// What people said of a model's predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Predictions that have feedback, of all times.
    pub total: usize,
    /// Those that are looked at here: the last ones.
    pub judged: usize,
    /// Of them, those said to be right, said to be wrong, and told the true class of.
    pub verdicts: [usize; 3],
    /// Of them, those whose most probable class was the true one.
    pub right: usize,
    /// Of those whose true class is known, the part whose true class was among the classes told.
    pub told: Option<f64>,
    /// By the class that was predicted, the most frequent first.
    pub classes: Vec<ClassCount>,
    /// True class and another one that was predicted, the most frequent first; at most twenty.
    pub confusions: Vec<Confusion>,
    /// Whether probabilities are what they say.
    pub calibration: Calibration,
}

/// Predictions of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// The class that was predicted.
    pub class: (u32, String),
    /// How often.
    pub judged: usize,
    /// How often rightly.
    pub right: usize,
}

/// One class taken for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// What the pictures showed.
    pub truth: (u32, String),
    /// What was predicted.
    pub predicted: (u32, String),
    /// How often.
    pub count: usize,
}

impl Summary {
    /// Of judged predictions, out of `total`.
    pub fn of(judged: &[Judged], total: usize) -> Self {
        let with = |verdict| judged.iter().filter(|one| one.verdict == verdict).count();
        let known: Vec<bool> =
            judged.iter().filter_map(|one| one.truth.as_ref().map(|truth| one.told.contains(&truth.0))).collect();
        let told = known.iter().filter(|told| **told).count();
        Self {
            total,
            judged: judged.len(),
            verdicts: Verdict::ALL.map(with),
            right: judged.iter().filter(|one| one.is_right()).count(),
            told: part(told, known.len()),
            classes: classes(judged),
            confusions: confusions(judged),
            calibration: Calibration::of(judged.iter().map(|one| (one.probability, one.is_right()))),
        }
    }

    /// The part of the judged predictions that was right.
    pub fn accuracy(&self) -> Option<f64> {
        part(self.right, self.judged)
    }
}

/// `some` of `all`.
fn part(some: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

fn classes(judged: &[Judged]) -> Vec<ClassCount> {
    let mut counts: BTreeMap<&(u32, String), (usize, usize)> = BTreeMap::new();
    for one in judged {
        let (judged, right) = counts.entry(&one.predicted).or_default();
        *judged += 1;
        *right += usize::from(one.is_right());
    }
    let count =
        |(class, (judged, right)): (&(u32, String), (usize, usize))| ClassCount { class: class.clone(), judged, right };
    let mut all: Vec<ClassCount> = counts.into_iter().map(count).collect();
    all.sort_by_key(|class| Reverse(class.judged));
    all
}

fn confusions(judged: &[Judged]) -> Vec<Confusion> {
    type Class = (u32, String);
    let mut counts: BTreeMap<(&Class, &Class), usize> = BTreeMap::new();
    for one in judged.iter().filter(|one| !one.is_right()) {
        if let Some(truth) = &one.truth {
            *counts.entry((truth, &one.predicted)).or_default() += 1;
        }
    }
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by_key(|(_, count)| Reverse(*count));
    all.truncate(PAIRS);
    let pair = |((truth, predicted), count): ((&Class, &Class), usize)| Confusion {
        truth: truth.clone(),
        predicted: predicted.clone(),
        count,
    };
    all.into_iter().map(pair).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, SystemTime};

    use uuid::Uuid;

    use super::*;

    fn class(class_id: u32) -> (u32, String) {
        (class_id, format!("class {class_id}"))
    }

    /// The feedback number `number`: class 1 was predicted with a probability, and `truth` is true.
    pub(in crate) fn judged(number: u64, probability: f32, verdict: Verdict, truth: Option<u32>) -> Judged {
        Judged {
            prediction: Uuid::from_u128(number.into()),
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + 3600 * number),
            predicted: class(1),
            probability,
            told: vec![1, 2],
            verdict,
            truth: truth.map(class),
            note: None,
            had_picture: false,
            picture: None,
        }
    }

    #[test]
    fn what_was_wrong_without_more_counts_for_accuracy_but_is_no_confusion() {
        let rows = [
            judged(1, 0.9, Verdict::Right, Some(1)),
            judged(2, 0.8, Verdict::Label, Some(1)),
            judged(3, 0.7, Verdict::Label, Some(2)),
            judged(4, 0.6, Verdict::Label, Some(3)),
            judged(5, 0.5, Verdict::Wrong, None),
        ];
        let summary = Summary::of(&rows, 9);
        assert_eq!((summary.total, summary.judged, summary.right, summary.verdicts), (9, 5, 2, [1, 1, 3]));
        assert_eq!((summary.accuracy(), summary.told), (Some(0.4), Some(0.75)));
        assert_eq!(summary.classes, [ClassCount { class: class(1), judged: 5, right: 2 }]);
        let pair = |truth| Confusion { truth: class(truth), predicted: class(1), count: 1 };
        assert_eq!(summary.confusions, [pair(2), pair(3)]);
        assert_eq!(summary.calibration.bins.iter().map(|bin| bin.count).sum::<usize>(), 5);
    }

    #[test]
    fn nothing_has_no_accuracy() {
        let summary = Summary::of(&[], 0);
        assert_eq!((summary.accuracy(), summary.told, summary.calibration.error), (None, None, None));
        assert!(summary.classes.is_empty() && summary.confusions.is_empty());
    }
}
