//! Why a model is not imported, each with the next step.

use std::path::PathBuf;

use super::error::Refusal;
use super::plain::plain;

/// A model that is not imported. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The build would refuse it, with this sentence.
    #[error("{0}")]
    Refused(String),
    /// The network takes pictures of any size.
    #[error(
        "the network's input '{input}' leaves height and width open. Say with --size which pictures it was trained with, \
         such as --size 224x224."
    )]
    NoSize {
        /// The input's name.
        input: String,
    },
    /// The network takes pictures of another size.
    #[error(
        "the network's input '{input}' is {width}x{height}. Leave out --size, or export the network with another one."
    )]
    OtherSize {
        /// The input's name.
        input: String,
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
    },
    /// The number of classes is not in the file.
    #[error(
        "the network's output '{output}' does not tell how many classes there are. Export it with that axis fixed, or run \
         onnx.shape_inference.infer_shapes on it and save it again."
    )]
    NoClasses {
        /// The output's name.
        output: String,
    },
    /// No classifier has so many classes.
    #[error("the network's output '{output}' is said to have {classes} classes; Kiln takes no more than a million.")]
    ManyClasses {
        /// The output's name.
        output: String,
        /// How many there are said to be.
        classes: usize,
    },
    /// The weights are not in the file.
    #[error(
        "the values of '{tensor}' lie in another file, '{file}', but Kiln takes one file. Save it as one: \
         onnx.save(onnx.load('model.onnx'), 'one.onnx')."
    )]
    OutsideWeights {
        /// The first such tensor.
        tensor: String,
        /// Where its values are said to be.
        file: String,
    },
    /// The labels do not fit.
    #[error(
        "{given} labels were given, but the network has {needed} classes. One class a line, in the order of the logits."
    )]
    Labels {
        /// How many there are.
        given: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The reference logits do not fit.
    #[error(
        "{given} logits were given, but the network has {needed} classes. One number a line, for the synthetic picture."
    )]
    Logits {
        /// How many there are.
        given: usize,
        /// How many are needed.
        needed: usize,
    },
    /// There is something already.
    #[error("{} is there already. Take another --name or --out, or replace it with --force.", .0.display())]
    Exists(PathBuf),
    /// There is something that is no model.
    #[error("{} is there already and holds no model.toml, so --force does not replace it. Take another --out.", .0.display())]
    NotAModel(PathBuf),
    /// There is a model, and more than that.
    #[error(
        "{} holds more than a model: {}. --force deletes the folder, so move that elsewhere, or take another --out.",
        folder.display(), listed(others)
    )]
    OtherFiles {
        /// The folder.
        folder: PathBuf,
        /// What else is in it, by name.
        others: Vec<String>,
    },
    /// Another model has nearly that name.
    #[error("the name '{name}' is too close to that of {}, with which it would share a module. Take another --name.", folder.display())]
    Taken {
        /// The name.
        name: String,
        /// The other model's folder.
        folder: PathBuf,
    },
    /// The folder cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// The first of the names; a folder may hold any number.
fn listed(names: &[String]) -> String {
    const MOST: usize = 10;
    let shown = names[..names.len().min(MOST)].iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ");
    if names.len() > MOST { format!("{shown} and {} more", names.len() - MOST) } else { shown }
}

impl From<Refusal> for ImportError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}
