//! Recorded predictions, feedback on them, and drift of the latest predictions from the first ones.

use metrics::{Counter, Gauge, counter, gauge};

use super::definitions::{
    CLASS_DRIFT, CONFIDENCE_DRIFT, FEEDBACK, FEEDBACK_ACCURACY, PREDICTIONS_RECORDED, RECORDS_DROPPED,
    STORED_IMAGES_BYTES,
};

/// The kind of a record that could not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A prediction. The client received it nevertheless.
    Prediction,
    /// Feedback. The client received an error.
    Feedback,
    /// An image.
    Image,
}

impl RecordKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Prediction => "prediction",
            Self::Feedback => "feedback",
            Self::Image => "image",
        }
    }
}

/// Creates the counters of dropped records, starting at zero. Without recording there are no such series.
pub fn init_feedback() {
    for (kind, reason) in [
        (RecordKind::Prediction, "queue_full"),
        (RecordKind::Prediction, "failed"),
        (RecordKind::Prediction, "closed"),
        (RecordKind::Feedback, "failed"),
        (RecordKind::Image, "queue_full"),
        (RecordKind::Image, "failed"),
    ] {
        record_dropped(kind, reason, 0);
    }
}

/// Counts records that could not be stored: the queue was full (`queue_full`), writing failed (`failed`), or the server
/// shuts down (`closed`).
pub fn record_dropped(kind: RecordKind, reason: &'static str, count: usize) {
    counter!(RECORDS_DROPPED.name, "what" => kind.as_str(), "reason" => reason).increment(count as u64);
}

/// Sets the total size of all stored images.
pub fn stored_images_bytes(bytes: u64) {
    gauge!(STORED_IMAGES_BYTES.name).set(bytes as f64);
}

/// The series of one model version.
#[derive(Debug)]
pub struct FeedbackMetrics {
    recorded: Counter,
    verdicts: [(&'static str, Counter); 3],
    accuracy: Gauge,
    confidence_drift: Gauge,
    class_drift: Gauge,
}

impl FeedbackMetrics {
    /// Creates the series. If no recorder is installed yet, they record nothing.
    pub fn new(model: &str, version: &str) -> Self {
        let labels = [("model", model.to_string()), ("version", version.to_string())];
        let verdict_counter = |verdict| {
            let [(_, model), (_, version)] = labels.clone();
            counter!(FEEDBACK.name, "model" => model, "version" => version, "verdict" => verdict)
        };
        let series = Self {
            recorded: counter!(PREDICTIONS_RECORDED.name, &labels),
            verdicts: ["right", "wrong", "label"].map(|verdict| (verdict, verdict_counter(verdict))),
            accuracy: gauge!(FEEDBACK_ACCURACY.name, &labels),
            confidence_drift: gauge!(CONFIDENCE_DRIFT.name, &labels),
            class_drift: gauge!(CLASS_DRIFT.name, &labels),
        };
        // The counters start at zero. Without feedback the accuracy is undefined.
        series.recorded.increment(0);
        series.accuracy.set(f64::NAN);
        series.verdicts.iter().for_each(|(_, counter)| counter.increment(0));
        series
    }

    /// Counts a recorded prediction.
    pub fn prediction_recorded(&self) {
        self.recorded.increment(1);
    }

    /// Counts stored feedback: `right`, `wrong` or `label`.
    ///
    /// # Panics
    ///
    /// Panics on another verdict.
    pub fn feedback_stored(&self, verdict: &'static str) {
        let known = self.verdicts.iter().find(|(name, _)| *name == verdict);
        known.expect("the verdict is right, wrong or label").1.increment(1);
    }

    /// Sets the fraction of the latest labelled predictions that was correct.
    pub fn set_accuracy(&self, accuracy: f64) {
        self.accuracy.set(accuracy);
    }

    /// Sets the drift of the latest predictions from the first ones.
    pub fn set_drift(&self, confidence: f64, classes: f64) {
        self.confidence_drift.set(confidence);
        self.class_drift.set(classes);
    }
}
