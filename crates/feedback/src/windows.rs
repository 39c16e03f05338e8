//! The last predictions of a model beside its first, and the last that were judged. Bounded: a thousand of each.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use super::drift;

/// Predictions in each window.
pub(super) const LENGTH: usize = 1000;

/// The reference window has the first predictions that were ever recorded of a model, the recent one the last. While there
/// are not more than [`LENGTH`] in all, both are the same, and nothing has drifted.
#[derive(Debug, Default)]
pub(super) struct Windows {
    reference: Vec<(u32, f32)>,
    recent: VecDeque<(u32, f32)>,
    /// The number of the prediction that comes next; each has its own.
    next: u64,
}

impl Windows {
    /// One more of the first.
    pub(super) fn refer(&mut self, class_id: u32, probability: f32) {
        self.reference.push((class_id, probability));
    }

    /// How many of the first there are.
    pub(super) fn references(&self) -> usize {
        self.reference.len()
    }

    /// The number of the prediction that comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// One more of the last, with that number.
    pub(super) fn push(&mut self, number: u64, class_id: u32, probability: f32) {
        self.next = number + 1;
        if self.recent.len() == LENGTH {
            self.recent.pop_front();
        }
        self.recent.push_back((class_id, probability));
    }

    /// Drift of the confidence and of the mix of classes; see [`drift`].
    pub(super) fn drift(&self) -> (f64, f64) {
        let confidence =
            drift::mean(self.recent.iter().map(|of| of.1)) - drift::mean(self.reference.iter().map(|of| of.1));
        let classes = drift::classes(self.reference.iter().map(|of| of.0), self.recent.iter().map(|of| of.0));
        (confidence, classes)
    }
}

/// The last predictions that were judged, and whether they were right, in the order of summaries: by when feedback was given (in
/// milliseconds), then by id. One that is judged again counts with its last feedback alone.
#[derive(Debug, Default)]
pub(super) struct Rolling(BTreeMap<(i64, Uuid), bool>);

impl Rolling {
    pub(super) fn push(&mut self, time: i64, prediction: Uuid, is_right: bool) {
        let known = self.0.keys().find(|(_, id)| *id == prediction).copied();
        if let Some(known) = known {
            self.0.remove(&known);
        }
        self.0.insert((time, prediction), is_right);
        if self.0.len() > LENGTH {
            self.0.pop_first();
        }
    }

    /// The part that was right.
    pub(super) fn accuracy(&self) -> Option<f64> {
        let right = self.0.values().filter(|is_right| **is_right).count();
        (!self.0.is_empty()).then(|| right as f64 / self.0.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_drifted_until_there_is_more_than_the_reference() {
        let mut windows = Windows::default();
        assert_eq!(windows.drift(), (0.0, 0.0));
        for index in 0..LENGTH as u32 {
            windows.refer(index % 7, 0.9);
            windows.push(u64::from(index), index % 7, 0.9);
        }
        assert_eq!(windows.drift(), (0.0, 0.0));
        for _ in 0..LENGTH / 2 {
            windows.push(windows.next(), 8, 0.5);
        }
        let (confidence, classes) = windows.drift();
        assert!((confidence + 0.2).abs() < 1e-6, "{confidence}");
        assert!((0.2..0.6).contains(&classes), "{classes}");
        for _ in 0..LENGTH / 2 {
            windows.push(windows.next(), 8, 0.5);
        }
        // Nothing in common any more: one bit.
        let (confidence, classes) = windows.drift();
        assert!((confidence + 0.4).abs() < 1e-6 && (classes - 1.0).abs() < 1e-9, "{confidence} {classes}");
        assert_eq!(windows.recent.len(), LENGTH);
    }

    #[test]
    fn who_is_judged_again_is_counted_once_and_last() {
        let mut rolling = Rolling::default();
        assert_eq!(rolling.accuracy(), None);
        let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        rolling.push(1, one, true);
        rolling.push(2, two, false);
        assert_eq!(rolling.accuracy(), Some(0.5));
        rolling.push(3, one, false);
        assert_eq!(rolling.accuracy(), Some(0.0));
        rolling.push(4, one, true);
        (5..LENGTH as i64 + 4).for_each(|time| rolling.push(time, Uuid::from_u128(time as u128), false));
        // Of all that were judged the first goes, which the second prediction is now.
        assert_eq!(rolling.accuracy(), Some(1.0 / LENGTH as f64));
        assert!(!rolling.0.contains_key(&(2, two)));
    }
}
