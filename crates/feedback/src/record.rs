//! The data that the store holds: predictions, feedback, and both together. Plain data.

use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::image_files::StoredImage;

/// Maximum number of characters of a note.
pub const MAX_NOTE: usize = 1000;

/// A prediction to be recorded.
#[derive(Clone, Debug)]
pub struct PredictionRecord {
    /// Id of the prediction: a UUID of version 7.
    pub id: Uuid,
    /// Class id and probability, most probable first. A prediction without classes is not recorded.
    pub classes: Vec<(u32, f32)>,
    /// The bytes of the image file and the extension of its format, if the image may be stored.
    pub image: Option<(Bytes, &'static str)>,
}

/// Identifies a model and its classes, so that feedback on a prediction can be interpreted.
#[derive(Debug, PartialEq, Eq)]
pub struct ModelIdentity {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Digest of the graph, the weights and the labels. Models with the same name and version but another digest are
    /// different models, with separate feedback.
    pub(crate) digest: String,
    /// The labels in the order of the class ids.
    pub(crate) labels: Vec<String>,
}

impl ModelIdentity {
    /// Creates the identity of a model whose graph and weights have the digest `network`.
    pub fn new(name: &str, version: &str, network: &str, labels: Vec<String>) -> Self {
        let mut digest = Sha256::new();
        for part in std::iter::once(network).chain(labels.iter().map(String::as_str)) {
            // The length prefix makes the concatenation unambiguous.
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest = format!("sha256:{}", hex::encode(digest.finalize()));
        Self { name: name.to_string(), version: version.to_string(), digest, labels }
    }
}

/// Feedback on a prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// Id of the prediction.
    pub prediction: Uuid,
    /// The ground truth.
    pub label: Label,
    /// A free-text note. The caller ensures that it has at most [`MAX_NOTE`] characters.
    pub note: Option<String>,
    /// The account whose key authenticated the request.
    pub account: Option<String>,
}

/// The ground truth, as the client gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// The predicted class is correct.
    Right,
    /// The predicted class is wrong; the true class is unknown.
    Wrong,
    /// The true class, by its id.
    ClassId(u32),
    /// The true class, by its name.
    ClassName(String),
}

/// The kind of feedback that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackKind {
    /// The prediction was confirmed.
    Right,
    /// The prediction was rejected, without a true class.
    Wrong,
    /// The true class was given; it may be the predicted one.
    Label,
}

impl FeedbackKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Right, Self::Wrong, Self::Label];

    /// Returns the name of the kind in the database, in metrics and in exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Label => "label",
        }
    }
}

/// Confirms that feedback is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The model of the prediction.
    pub model: String,
    /// The version of that model.
    pub version: String,
    /// The kind of feedback.
    pub kind: FeedbackKind,
    /// Id and label of the most probable class of the prediction.
    pub predicted: (u32, String),
    /// Id and label of the true class, if known.
    pub true_class: Option<(u32, String)>,
    /// Whether this feedback replaced earlier feedback on the same prediction.
    pub replaced: bool,
}

/// A prediction with its feedback.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledPrediction {
    /// Id of the prediction.
    pub prediction: Uuid,
    /// When the feedback was given.
    pub time: SystemTime,
    /// Id and label of the most probable class.
    pub predicted: (u32, String),
    /// Probability of the most probable class.
    pub probability: f32,
    /// Ids of all classes that were returned, most probable first.
    pub top_classes: Vec<u32>,
    /// The kind of feedback.
    pub kind: FeedbackKind,
    /// Id and label of the true class, if known.
    pub true_class: Option<(u32, String)>,
    /// The free-text note.
    pub note: Option<String>,
    /// Whether the image was stored when the prediction was recorded.
    pub image_was_stored: bool,
    /// The image, if it is still stored.
    pub image: Option<StoredImage>,
}

impl LabelledPrediction {
    /// Returns whether the most probable class is the true one.
    pub fn is_right(&self) -> bool {
        self.true_class.as_ref().is_some_and(|(class_id, _)| *class_id == self.predicted.0)
    }
}
