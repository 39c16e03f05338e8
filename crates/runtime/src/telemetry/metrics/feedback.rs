//! What is recorded of predictions, what people say of them, and how far the last ones are from the first.

use metrics::{Counter, Gauge, counter, gauge};

use super::names::{ACCURACY, CLASS_DRIFT, CONFIDENCE_DRIFT, FEEDBACK, KEPT_PICTURES, NOT_KEPT, RECORDED};

/// What could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A prediction; whoever asked for it has it all the same.
    Prediction,
    /// Feedback; whoever gave it was told so.
    Feedback,
    /// A picture.
    Picture,
}

impl Lost {
    fn word(self) -> &'static str {
        match self {
            Self::Prediction => "prediction",
            Self::Feedback => "feedback",
            Self::Picture => "picture",
        }
    }
}

/// Counts from zero on. Where nothing is recorded there are no such series.
pub fn begin_feedback() {
    for (what, reason) in [
        (Lost::Prediction, "queue_full"),
        (Lost::Prediction, "failed"),
        (Lost::Prediction, "closed"),
        (Lost::Feedback, "failed"),
        (Lost::Picture, "queue_full"),
        (Lost::Picture, "failed"),
    ] {
        lost(what, reason).increment(0);
    }
}

/// So much could not be kept: there was no room for it in the queue (`queue_full`), it could not be written (`failed`), or the
/// server ends (`closed`).
pub fn not_kept(what: Lost, reason: &'static str, count: usize) {
    lost(what, reason).increment(count as u64);
}

fn lost(what: Lost, reason: &'static str) -> Counter {
    counter!(NOT_KEPT.name, "what" => what.word(), "reason" => reason)
}

/// All pictures that are kept have so many bytes.
pub fn kept_pictures(bytes: u64) {
    gauge!(KEPT_PICTURES.name).set(bytes as f64);
}

/// One version of a model. Made before a recorder is installed, it records nothing.
#[derive(Debug)]
pub struct FeedbackMetrics {
    recorded: Counter,
    verdicts: [(&'static str, Counter); 3],
    accuracy: Gauge,
    confidence_drift: Gauge,
    class_drift: Gauge,
}

impl FeedbackMetrics {
    /// The series of a model's version.
    pub fn new(model: &str, version: &str) -> Self {
        let labels = [("model", model.to_string()), ("version", version.to_string())];
        let of_verdict = |verdict| {
            let [(_, model), (_, version)] = labels.clone();
            counter!(FEEDBACK.name, "model" => model, "version" => version, "verdict" => verdict)
        };
        let all = Self {
            recorded: counter!(RECORDED.name, &labels),
            verdicts: ["right", "wrong", "label"].map(|verdict| (verdict, of_verdict(verdict))),
            accuracy: gauge!(ACCURACY.name, &labels),
            confidence_drift: gauge!(CONFIDENCE_DRIFT.name, &labels),
            class_drift: gauge!(CLASS_DRIFT.name, &labels),
        };
        // From zero on. Of nothing there is no accuracy yet.
        all.recorded.increment(0);
        all.accuracy.set(f64::NAN);
        all.verdicts.iter().for_each(|(_, counter)| counter.increment(0));
        all
    }

    /// A prediction was written down.
    pub fn recorded(&self) {
        self.recorded.increment(1);
    }

    /// Feedback was stored: `right`, `wrong` or `label`.
    ///
    /// # Panics
    ///
    /// It is none of these.
    pub fn judged(&self, verdict: &'static str) {
        let known = self.verdicts.iter().find(|(word, _)| *word == verdict);
        known.expect("a verdict of the list").1.increment(1);
    }

    /// The part of the last judged predictions that was right.
    pub fn accuracy(&self, accuracy: f64) {
        self.accuracy.set(accuracy);
    }

    /// How far the last predictions are from the first.
    pub fn drift(&self, confidence: f64, classes: f64) {
        self.confidence_drift.set(confidence);
        self.class_drift.set(classes);
    }
}
