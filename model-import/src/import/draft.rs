//! All that goes into a model's folder beside the network, and what of it can be wrong.

use super::import_error::ImportError;
use super::inspect::Network;
use super::preset::Preprocess;

/// A model's description, labels and preprocessing, before there is a folder for it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The name that requests will use.
    pub name: String,
    /// The version that requests will use.
    pub version: String,
    /// One sentence for a person.
    pub description: String,
    /// Where the weights come from.
    pub source: String,
    /// SPDX name of the weights' licence.
    pub licence: String,
    /// Class names in index order.
    pub labels: Vec<String>,
    /// The right logits of the synthetic picture, if another runtime told them.
    pub logits: Option<Vec<f32>>,
    /// How pictures are prepared.
    pub preprocess: Preprocess,
}

impl Draft {
    /// Refuses labels and logits of another number than the network has classes.
    pub(super) fn check(&self, network: &Network) -> Result<(), ImportError> {
        let needed = network.classes;
        if self.labels.len() != needed {
            return Err(ImportError::Labels { given: self.labels.len(), needed });
        }
        match &self.logits {
            Some(logits) if logits.len() != needed => Err(ImportError::Logits { given: logits.len(), needed }),
            _ => Ok(()),
        }
    }

    /// The name of the network's file, which the manifest allows fewer characters than the model's name.
    pub(super) fn onnx_name(&self) -> String {
        let stem: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        format!("{stem}.onnx")
    }
}
