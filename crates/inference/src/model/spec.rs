//! The description of a model: an owned copy of its manifest, whether the model is built in or read from a file.

use std::sync::Arc;

use model_import::{Crop, Filter};

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
    /// Class names in index order, one for each output of the network.
    pub labels: Vec<Arc<str>>,
    /// Logits of the synthetic image as another runtime computes them, one for each label, if they are known.
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
            labels: spec.labels.iter().map(|label| Arc::from(*label)).collect(),
            reference_logits: spec.reference_logits.map(Box::from),
        }
    }
}
