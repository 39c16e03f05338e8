//! Errors of an import. Each message names the next step.

use std::path::PathBuf;

use kiln_graph::ModelError;

use super::untrusted_input::terminal_text;

/// Why a model is not imported. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The build would reject the model with this message.
    #[error("{0}")]
    Rejected(String),
    /// burn-onnx, with which the build reads networks, refuses the network.
    #[error(transparent)]
    Importer(ModelError),
    /// The network accepts images of any size.
    #[error(
        "the network's input '{input}' leaves height and width open. Give the size of the training images, such as --size \
         224x224."
    )]
    NoSize {
        /// The input's name.
        input: String,
    },
    /// The network accepts images of another size.
    #[error(
        "the network's input '{input}' is {width}x{height}. Leave out --size, or export the network with another one."
    )]
    OtherSize {
        /// The input's name.
        input: String,
        /// Its width in pixels.
        width: usize,
        /// Its height in pixels.
        height: usize,
    },
    /// The file does not determine the number of classes.
    #[error(
        "the network's output '{output}' does not determine the number of classes. Export it with that axis fixed, or run \
         onnx.shape_inference.infer_shapes on it and save it again."
    )]
    NoClasses {
        /// The output's name.
        output: String,
    },
    /// The number of classes is implausible.
    #[error("the network's output '{output}' declares {classes} classes; Kiln accepts no more than a million.")]
    ManyClasses {
        /// The output's name.
        output: String,
        /// The declared number.
        classes: usize,
    },
    /// Some weights are in another file.
    #[error(
        "the values of '{tensor}' are in another file, '{file}', but a network that is built in is one file. Save it as one: \
         onnx.save(onnx.load('model.onnx'), 'one.onnx'). Or serve it at start: 'kiln serve' reads both files."
    )]
    ExternalWeights {
        /// The first such tensor.
        tensor: String,
        /// The other file, as the ONNX file names it.
        file: String,
    },
    /// The number of labels is wrong.
    #[error(
        "{given} labels were given, but the network has {needed} classes. Give one class a line, in the order of the logits."
    )]
    Labels {
        /// The given number.
        given: usize,
        /// The number of classes.
        needed: usize,
    },
    /// The number of reference logits is wrong.
    #[error(
        "{given} logits were given, but the network has {needed} classes. Give one number a line, for the synthetic image."
    )]
    Logits {
        /// The given number.
        given: usize,
        /// The number of classes.
        needed: usize,
    },
    /// The folder exists.
    #[error("{} exists already. Take another --name or --out, or replace it with --force.", .0.display())]
    Exists(PathBuf),
    /// The folder exists and does not hold a model.
    #[error("{} exists already and holds no model.toml, so --force does not replace it. Take another --out.", .0.display())]
    NotAModel(PathBuf),
    /// The folder exists and holds more than a model.
    #[error(
        "{} holds more than a model: {}. --force deletes the folder, so move that elsewhere, or take another --out.",
        folder.display(), listed(others)
    )]
    OtherFiles {
        /// The folder.
        folder: PathBuf,
        /// The names of the other files and folders.
        others: Vec<String>,
    },
    /// Another model has a name that differs only in punctuation or case.
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
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
}

/// The first names of a list. A folder may hold any number of files.
fn listed(names: &[String]) -> String {
    const MAX: usize = 10;
    let shown = names[..names.len().min(MAX)].iter().map(|name| terminal_text(name)).collect::<Vec<_>>().join(", ");
    if names.len() > MAX { format!("{shown} and {} more", names.len() - MAX) } else { shown }
}

impl From<ModelError> for ImportError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Import { .. } => Self::Importer(error),
            other => Self::Rejected(other.to_string()),
        }
    }
}
