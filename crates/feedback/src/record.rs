//! What is taken down of a prediction, what people say of it, and what they are told then: plain data.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::picture::hex;
use super::recorder::Waiting;

/// The most characters of a note.
pub const MAX_NOTE: usize = 1000;

/// A prediction that was just answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its id.
    pub id: Uuid,
    /// Class and probability, most probable first. Of none nothing is recorded.
    pub classes: Vec<(u32, f32)>,
    /// The file that was classified and the extension of its format, if it may be kept.
    pub picture: Option<(Bytes, &'static str)>,
}

/// What has to be known of a model to tell what feedback on it means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ModelFacts {
    pub(super) name: String,
    pub(super) version: String,
    /// Of its graph, weights and labels: feedback on another of that name and version is not about this one.
    pub(super) digest: String,
    /// In index order.
    pub(super) labels: Vec<String>,
}

impl ModelFacts {
    /// Those of a model whose graph and weights have the digest `network`.
    pub(super) fn new(name: &str, version: &str, network: &str, labels: Vec<String>) -> Self {
        let mut digest = Sha256::new();
        for part in std::iter::once(network).chain(labels.iter().map(String::as_str)) {
            // Each is told from the next, wherever their borders are.
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest = format!("sha256:{}", hex(&digest.finalize()));
        Self { name: name.to_string(), version: version.to_string(), digest, labels }
    }
}

/// A prediction on its way to the database.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) id: Uuid,
    pub(super) time: SystemTime,
    pub(super) model: Arc<ModelFacts>,
    pub(super) classes: Vec<(u32, f32)>,
    pub(super) picture: Option<Held>,
}

/// A picture that waits to be looked at. Its bytes count as waiting until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    pub(super) extension: &'static str,
    pub(super) _waiting: Waiting,
}

/// What somebody says of a prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// Which one.
    pub prediction: Uuid,
    /// What is true.
    pub truth: Truth,
    /// In their own words; [`MAX_NOTE`] characters at most, which is for the caller to check.
    pub note: Option<String>,
    /// Whose key it came with.
    pub account: Option<String>,
}

/// What the picture truly shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// What was predicted.
    Right,
    /// Something else, and it was not said what.
    Wrong,
    /// The class of that index.
    ClassId(u32),
    /// The class of that name.
    Label(String),
}

/// How feedback was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The prediction was said to be right.
    Right,
    /// It was said to be wrong, and no more.
    Wrong,
    /// The true class was named; it may be the one that was predicted.
    Label,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Right, Self::Wrong, Self::Label];

    /// The word for it, in the database, in metrics and in exports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Label => "label",
        }
    }
}

/// Feedback is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The model that had answered.
    pub model: String,
    /// Its version.
    pub version: String,
    /// How it was given.
    pub verdict: Verdict,
    /// The most probable class of the prediction.
    pub predicted: (u32, String),
    /// The true class, where it is known.
    pub truth: Option<(u32, String)>,
    /// Whether it took the place of feedback from before.
    pub replaced: bool,
}

/// Why feedback is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackError {
    /// The prediction was never made here, or was let go since.
    #[error("there is no prediction '{0}' here (any more)")]
    UnknownPrediction(Uuid),
    /// The model has no such class.
    #[error("model '{model}' has no class {class_id}")]
    UnknownClass {
        /// The model that had answered.
        model: String,
        /// What was said.
        class_id: u32,
    },
    /// The model has no class of that name.
    #[error("model '{model}' has no class of that label")]
    UnknownLabel {
        /// The model that had answered.
        model: String,
    },
    /// The model has several.
    #[error("model '{model}' has several classes of that label, {first} and {second} among them; send the class_id")]
    AmbiguousLabel {
        /// The model that had answered.
        model: String,
        /// One of them.
        first: u32,
        /// Another.
        second: u32,
    },
    /// It cannot be stored now. The cause is in the log.
    #[error("feedback cannot be stored at the moment")]
    Unavailable,
}
