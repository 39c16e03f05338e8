//! Why a model is not read from a file. Each message names the next step.

use std::path::PathBuf;

use crate::model::onnx_model::OpenError;

/// Why a model is not read from a file.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// The path or a file beside the model cannot be read.
    #[error("cannot read {}: {reason}. Give the path of an .onnx file, or of a folder that holds one.", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The folder has no ONNX file.
    #[error("{} holds no .onnx file. Give the path of an .onnx file, or of a folder that holds one.", .0.display())]
    NoModel(PathBuf),
    /// The folder has several ONNX files.
    #[error(
        "{} holds several .onnx files: {}. Give the path of one of them, or name it in the folder's model.toml: onnx = \
         \"FILE.onnx\".",
        folder.display(), names.join(", ")
    )]
    SeveralModels {
        /// The folder.
        folder: PathBuf,
        /// The first names.
        names: Vec<String>,
    },
    /// A file beside the model has invalid content.
    #[error("{}: {reason}. Correct the file, or remove it and set its values in model.toml.", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The ONNX file is not the one that the manifest describes.
    #[error("{} has the SHA-256 {found}, but its model.toml says {expected}. Correct 'sha256' if the file is the intended one.", path.display())]
    Digest {
        /// The ONNX file.
        path: PathBuf,
        /// The file's digest.
        found: String,
        /// The manifest's digest.
        expected: String,
    },
    /// The number of class names is wrong.
    #[error(
        "{origin} has {given} class names, but the output '{output}' has {needed} classes{}. Give one name a line, in the \
         order of the output; or serve another output with --output.",
        hint(*given, *needed)
    )]
    LabelCount {
        /// The file that the names come from.
        origin: String,
        /// The number of names.
        given: usize,
        /// The number of classes.
        needed: usize,
        /// The output's name.
        output: String,
    },
    /// The ONNX file is not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl ModelFileError {
    /// Returns the error for a file with invalid content.
    pub(super) fn invalid(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), reason: reason.into() }
    }
}

fn hint(given: usize, needed: usize) -> &'static str {
    match given.abs_diff(needed) {
        1 => " (one network has a class 'background' that another lacks)",
        _ => "",
    }
}
