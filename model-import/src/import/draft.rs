//! The description of a model before it has a folder, and its `model.toml`.

use kiln_graph::{Crop, Preprocess};

use super::error::ImportError;
use super::inspect::InspectedModel;

/// Everything in a model's folder besides the network.
#[derive(Clone, Debug)]
pub struct Draft {
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
    /// Class names in index order.
    pub labels: Vec<String>,
    /// Logits of the synthetic image as another runtime computes them, if they are known.
    pub logits: Option<Vec<f32>>,
    /// How photos become the network's input.
    pub preprocess: Preprocess,
}

impl Draft {
    /// Checks that there is one label, and one logit if there are any, for each class of the network.
    pub(super) fn check(&self, network: &InspectedModel) -> Result<(), ImportError> {
        let needed = network.classes;
        if self.labels.len() != needed {
            return Err(ImportError::Labels { given: self.labels.len(), needed });
        }
        match &self.logits {
            Some(logits) if logits.len() != needed => Err(ImportError::Logits { given: logits.len(), needed }),
            _ => Ok(()),
        }
    }

    /// The name of the ONNX file. The manifest allows fewer characters in it than in the model's name.
    pub(super) fn onnx_name(&self) -> String {
        let stem: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        format!("{stem}.onnx")
    }

    /// The `model.toml`, with comments for people who edit it. `sha256` is the digest of the ONNX file.
    pub(super) fn manifest_text(&self, network: &InspectedModel, sha256: &str) -> String {
        let Self { name, version, description, source, licence, logits, preprocess, .. } = self;
        let [name, version, description, source, licence] =
            [name, version, description, source, licence].map(|t| quoted(t));
        let file = quoted(&self.onnx_name());
        let reference_logits = if logits.is_some() { REFERENCE_LOGITS } else { "" };
        let (width, height) = (network.width, network.height);
        let filter = preprocess.filter.as_str();
        let crop = match preprocess.crop {
            Crop::None => "\"none\"".to_string(),
            Crop::CentralPadded { padding } => format!("{{ central-padded = {padding} }}"),
        };
        let (mean, std) = (preprocess.mean, preprocess.std);
        format!(
            "# Written by 'kiln import'. Every build reads this file. models/efficientnet-lite0/model.toml explains all keys.\n\
             \n\
             # The model's name and version in URLs: letters, digits, '-', '_' and '.'.\n\
             name = {name}\n\
             version = {version}\n\
             # One sentence that helps users to choose a model.\n\
             description = {description}\n\
             # Origin of the weights, precise enough to get the same ones again, and their licence.\n\
             source = {source}\n\
             licence = {licence}\n\
             \n\
             # The network, a file in this folder, and its SHA-256 (`sha256sum FILE`): the build stops if they differ.\n\
             onnx = {file}\n\
             sha256 = \"{sha256}\"\n\
             # Class names, a file in this folder: one a line, in the order of the logits.\n\
             labels = \"labels.txt\"\n\
             {reference_logits}\
             \n\
             # The size of the network's input, in pixels.\n\
             [input]\n\
             width = {width}\n\
             height = {height}\n\
             \n\
             # How a photo becomes the network's input. It must match the training code: a wrong value causes no error, it only\n\
             # costs accuracy.\n\
             [preprocess]\n\
             # The resize filter, always antialiased: \"bilinear\", \"bicubic\" or \"lanczos\", by Pillow's names.\n\
             filter = \"{filter}\"\n\
             # \"none\" (the whole photo, stretched), or {{ central-padded = N }}: the central square of side min(h, w) * size / (size + N).\n\
             crop = {crop}\n\
             # Each channel becomes (x - mean) / std, in the order R, G, B, for x from 0 to 255.\n\
             mean = {mean:?}\n\
             std = {std:?}\n"
        )
    }
}

const REFERENCE_LOGITS: &str = "# Logits of the synthetic image (export/images.py) as another runtime computes them, one a line. Kiln does not \
                                use a\n# device whose logits differ.\nreference_logits = \"reference_logits.txt\"\n";

/// A text as a quoted TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}
