//! The JSON of the answers.

use poem_openapi::Object;
use uuid::Uuid;

use kiln_feedback::{Bin, ClassCount, Confusion, Receipt, Summary};

/// Feedback is stored.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackStored", skip_serializing_if_is_none)]
pub(super) struct ReceiptBody {
    /// The prediction that it is about.
    prediction_id: String,
    /// The model that had answered.
    model: NamedModel,
    /// `right`, `wrong`, or `label` where the true class was named.
    verdict: String,
    /// The most probable class of the prediction.
    predicted: NamedClass,
    /// The true class, where it is known.
    truth: Option<NamedClass>,
    /// Whether it has taken the place of feedback from before.
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

/// How good a model's answers were, by the last feedback.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackSummary", skip_serializing_if_is_none)]
pub(super) struct SummaryBody {
    /// The model.
    model: NamedModel,
    /// Predictions that have feedback, of all times.
    total: u64,
    /// Those that are looked at here: the last ones.
    judged: u64,
    /// Of them, those said to be right.
    said_right: u64,
    /// Of them, those said to be wrong without the true class.
    said_wrong: u64,
    /// Of them, those whose true class was named.
    labelled: u64,
    /// The part of them whose most probable class was the true one; absent where nothing was judged.
    accuracy: Option<f64>,
    /// Of those whose true class is known, the part where it was among the classes that were told.
    told_accuracy: Option<f64>,
    /// By the class that was predicted, the most frequent first.
    classes: Vec<ClassCountBody>,
    /// What was taken for what, the most frequent first; at most twenty pairs.
    confusions: Vec<ConfusionBody>,
    /// Whether probabilities are what they say.
    calibration: CalibrationBody,
}

/// Judged predictions of one class.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackClassCount")]
struct ClassCountBody {
    /// Index of the class that was predicted.
    class_id: u32,
    /// Its name.
    label: String,
    /// How often it was judged.
    judged: u64,
    /// The part of them that was right.
    accuracy: f64,
}

/// One class taken for another.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackConfusion")]
struct ConfusionBody {
    /// What the pictures showed.
    truth: NamedClass,
    /// What was predicted.
    predicted: NamedClass,
    /// How often.
    count: u64,
}

/// Of the answers given with 80 %, are 80 % right?
#[derive(Debug, Object)]
#[oai(rename = "FeedbackCalibration", skip_serializing_if_is_none)]
struct CalibrationBody {
    /// Expected calibration error (Guo et al., 2017): the mean distance of accuracy and probability; absent where nothing was
    /// judged.
    expected_error: Option<f64>,
    /// Ten, by probability.
    bins: Vec<BinBody>,
}

/// Answers whose probability lies within a tenth.
#[derive(Debug, Object)]
#[oai(rename = "FeedbackCalibrationBin", skip_serializing_if_is_none)]
struct BinBody {
    /// Lower bound, not included but in the first.
    low: f64,
    /// Upper bound, included.
    high: f64,
    /// How many.
    count: u64,
    /// Their mean probability; absent where there are none.
    confidence: Option<f64>,
    /// The part of them that was right; absent where there are none.
    accuracy: Option<f64>,
}

impl From<(u32, String)> for NamedClass {
    fn from((class_id, label): (u32, String)) -> Self {
        Self { class_id, label }
    }
}

impl ReceiptBody {
    pub(super) fn new(id: Uuid, receipt: Receipt) -> Self {
        let Receipt { model, version, verdict, predicted, truth, replaced } = receipt;
        Self {
            prediction_id: id.to_string(),
            model: NamedModel { name: model, version },
            verdict: verdict.word().to_string(),
            predicted: predicted.into(),
            truth: truth.map(NamedClass::from),
            replaced,
        }
    }
}

impl SummaryBody {
    pub(super) fn new(name: &str, version: &str, summary: Summary) -> Self {
        let accuracy = summary.accuracy();
        let Summary { total, judged, verdicts, told, classes, confusions, calibration, .. } = summary;
        let [said_right, said_wrong, labelled] = verdicts.map(|count| count as u64);
        Self {
            model: NamedModel { name: name.to_string(), version: version.to_string() },
            total: total as u64,
            judged: judged as u64,
            said_right,
            said_wrong,
            labelled,
            accuracy,
            told_accuracy: told,
            classes: classes.into_iter().map(ClassCountBody::from).collect(),
            confusions: confusions.into_iter().map(ConfusionBody::from).collect(),
            calibration: CalibrationBody {
                expected_error: calibration.error,
                bins: calibration.bins.into_iter().map(BinBody::from).collect(),
            },
        }
    }
}

impl From<ClassCount> for ClassCountBody {
    fn from(count: ClassCount) -> Self {
        let ClassCount { class: (class_id, label), judged, right } = count;
        Self { class_id, label, judged: judged as u64, accuracy: right as f64 / judged.max(1) as f64 }
    }
}

impl From<Confusion> for ConfusionBody {
    fn from(confusion: Confusion) -> Self {
        let Confusion { truth, predicted, count } = confusion;
        Self { truth: truth.into(), predicted: predicted.into(), count: count as u64 }
    }
}

impl From<Bin> for BinBody {
    fn from(bin: Bin) -> Self {
        let Bin { low, high, count, confidence, accuracy } = bin;
        let known = |value: f64| (count > 0).then_some(value);
        Self { low, high, count: count as u64, confidence: known(confidence), accuracy: known(accuracy) }
    }
}
