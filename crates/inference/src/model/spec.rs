//! The description of a model: an owned copy of its manifest, whether the model is built in or read from a file.

use std::sync::Arc;

use model_import::{Crop, Filter};

/// The meaning of a model's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// One of the classes applies: probabilities are a softmax of the logits.
    SingleLabel,
    /// Any number of classes apply: each probability is the sigmoid of a logit.
    MultiLabel,
    /// The output is an embedding of the image. There are no classes.
    Embedding,
}

impl Task {
    /// Returns the name in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SingleLabel => "single-label",
            Self::MultiLabel => "multi-label",
            Self::Embedding => "embedding",
        }
    }
}

/// The description of a model.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// Name of the model in requests.
    pub name: String,
    /// Version of the model in requests.
    pub version: String,
    /// One sentence for users.
    pub description: String,
    /// Origin of the weights.
    pub source: String,
    /// SPDX name of the weights' licence.
    pub licence: String,
    /// SHA-256 of the ONNX file, in lower-case hex.
    pub sha256: String,
    /// Width of the network's input, in pixels.
    pub width: u32,
    /// Height of the network's input, in pixels.
    pub height: u32,
    /// Filter of the resize to that size.
    pub filter: Filter,
    /// Region of the photo that is resized.
    pub crop: Crop,
    /// Mean of red, green and blue, in units of 0..=255.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, in units of 0..=255.
    pub std: [f32; 3],
    /// The meaning of the output.
    pub task: Task,
    /// Number of values of the output.
    pub outputs: usize,
    /// Class names in index order: one for each value of the output, or none for an embedding.
    pub labels: Vec<Arc<str>>,
    /// Logits of the synthetic image as another runtime computes them, one for each value of the output, if they are
    /// known.
    pub reference_logits: Option<Box<[f32]>>,
}

/// Copies the description of a built-in model.
impl From<&model_import::ModelSpec> for ModelSpec {
    fn from(spec: &model_import::ModelSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            version: spec.version.to_string(),
            description: spec.description.to_string(),
            source: spec.source.to_string(),
            licence: spec.licence.to_string(),
            sha256: spec.sha256.to_string(),
            width: spec.width,
            height: spec.height,
            filter: spec.filter,
            crop: spec.crop,
            mean: spec.mean,
            std: spec.std,
            task: Task::SingleLabel,
            outputs: spec.labels.len(),
            labels: spec.labels.iter().map(|label| Arc::from(*label)).collect(),
            reference_logits: spec.reference_logits.map(Box::from),
        }
    }
}
