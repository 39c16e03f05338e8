//! The JSON of the responses.

use poem_openapi::Object;
use uuid::Uuid;

use kiln_feedback::{CalibrationBin, ClassCount, Confusion, Receipt, Summary};

/// Confirmation of stored feedback.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackStored", skip_serializing_if_is_none)]
pub(super) struct ReceiptBody {
    /// Id of the prediction.
    prediction_id: String,
    /// The model that made the prediction.
    model: NamedModel,
    /// `right`, `wrong`, or `label` if the feedback names the true class.
    verdict: String,
    /// The most probable class of the prediction.
    predicted: NamedClass,
    /// The true class, if it is known.
    truth: Option<NamedClass>,
    /// Whether it replaced earlier feedback.
    replaced: bool,
}

/// A model and its version.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackModel")]
struct NamedModel {
    /// Name, as in the `model` parameter.
    name: String,
    /// Version, as in the `version` parameter.
    version: String,
}

/// A class.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackClass")]
struct NamedClass {
    /// Index of the class.
    class_id: u32,
    /// Name of the class.
    label: String,
}

/// The quality of a model's predictions, evaluated on the latest predictions with feedback.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackSummary", skip_serializing_if_is_none)]
pub(super) struct SummaryBody {
    /// The model.
    model: NamedModel,
    /// Number of all predictions with feedback.
    total: u64,
    /// Number of evaluated predictions: the latest ones, up to `window`.
    evaluated: u64,
    /// Number of evaluated predictions with the verdict `right`.
    confirmed: u64,
    /// Number of evaluated predictions with the verdict `wrong`.
    rejected: u64,
    /// Number of evaluated predictions whose feedback names the true class.
    labelled: u64,
    /// Top-1 accuracy: the fraction whose most probable class is the true one; absent if nothing is evaluated.
    accuracy: Option<f64>,
    /// Top-k accuracy: of the predictions with a known true class, the fraction in which it is among the returned classes.
    top_k_accuracy: Option<f64>,
    /// Counts by predicted class, the most frequent first.
    classes: Vec<ClassCountBody>,
    /// Confused pairs of classes, the most frequent first; at most twenty.
    confusions: Vec<ConfusionBody>,
    /// How well the probabilities match the accuracy.
    calibration: CalibrationBody,
}

/// Evaluated predictions of one class.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackClassCount")]
struct ClassCountBody {
    /// Index of the predicted class.
    class_id: u32,
    /// Name of the predicted class.
    label: String,
    /// Number of evaluated predictions.
    evaluated: u64,
    /// The fraction that was right.
    accuracy: f64,
}

/// A pair of confused classes.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackConfusion")]
struct ConfusionBody {
    /// The true class.
    truth: NamedClass,
    /// The predicted class.
    predicted: NamedClass,
    /// Number of evaluated predictions.
    count: u64,
}

/// Calibration: of the predictions with a probability of 80 %, are 80 % right?
#[derive(Debug, Object)]
#[oai(rename = "FeedbackCalibration", skip_serializing_if_is_none)]
struct CalibrationBody {
    /// Expected calibration error (Guo et al., 2017): the mean distance between accuracy and probability; absent if nothing is
    /// evaluated.
    expected_error: Option<f64>,
    /// Ten bins by probability.
    bins: Vec<BinBody>,
}

/// Predictions whose probability lies in one tenth.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackCalibrationBin", skip_serializing_if_is_none)]
struct BinBody {
    /// Lower bound, exclusive except in the first bin.
    low: f64,
    /// Upper bound, inclusive.
    high: f64,
    /// Number of evaluated predictions.
    count: u64,
    /// Mean probability; absent if the bin is empty.
    confidence: Option<f64>,
    /// The fraction that was right; absent if the bin is empty.
    accuracy: Option<f64>,
}

impl From<(u32, String)> for NamedClass {
    fn from((class_id, label): (u32, String)) -> Self {
        Self { class_id, label }
    }
}

impl ReceiptBody {
    pub(super) fn new(id: Uuid, receipt: Receipt) -> Self {
        let Receipt { model, version, kind, predicted, true_class, replaced } = receipt;
        Self {
            prediction_id: id.to_string(),
            model: NamedModel { name: model, version },
            verdict: kind.as_str().to_string(),
            predicted: predicted.into(),
            truth: true_class.map(NamedClass::from),
            replaced,
        }
    }
}

impl SummaryBody {
    pub(super) fn new(name: &str, version: &str, summary: Summary) -> Self {
        let accuracy = summary.accuracy();
        let Summary { total, count, kind_counts, top_k_accuracy, classes, confusions, calibration, .. } = summary;
        let [confirmed, rejected, labelled] = kind_counts.map(|count| count as u64);
        Self {
            model: NamedModel { name: name.to_string(), version: version.to_string() },
            total: total as u64,
            evaluated: count as u64,
            confirmed,
            rejected,
            labelled,
            accuracy,
            top_k_accuracy,
            classes: classes.into_iter().map(ClassCountBody::from).collect(),
            confusions: confusions.into_iter().map(ConfusionBody::from).collect(),
            calibration: CalibrationBody {
                expected_error: calibration.expected_error,
                bins: calibration.bins.into_iter().map(BinBody::from).collect(),
            },
        }
    }
}

impl From<ClassCount> for ClassCountBody {
    fn from(count: ClassCount) -> Self {
        let ClassCount { class: (class_id, label), count, right } = count;
        Self { class_id, label, evaluated: count as u64, accuracy: right as f64 / count.max(1) as f64 }
    }
}

impl From<Confusion> for ConfusionBody {
    fn from(confusion: Confusion) -> Self {
        let Confusion { true_class, predicted, count } = confusion;
        Self { truth: true_class.into(), predicted: predicted.into(), count: count as u64 }
    }
}

impl From<CalibrationBin> for BinBody {
    fn from(bin: CalibrationBin) -> Self {
        let CalibrationBin { low, high, count, confidence, accuracy } = bin;
        let known = |value: f64| (count > 0).then_some(value);
        Self { low, high, count: count as u64, confidence: known(confidence), accuracy: known(accuracy) }
    }
}
