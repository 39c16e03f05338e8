//! Why an ONNX file cannot be read: what is wrong, and the next step.

use std::path::PathBuf;
use std::{fmt, io};

use crate::message_text::shorten;

/// The next step if the values of a tensor are in a file that is missing or elsewhere.
pub(crate) const PUT_BESIDE: &str = "Put that file beside the .onnx file.";

/// Why a file cannot be read. The texts follow the path of the ONNX file and a colon.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system reports an error.
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The bytes are no ONNX model. The text has the next step.
    NotOnnx(String),
    /// The file is larger than those that Kiln reads.
    TooLarge {
        /// A clause.
        reason: &'static str,
        /// A sentence.
        next_step: &'static str,
    },
    /// The values of a tensor are not at the place that the file gives.
    Values {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
        /// A sentence.
        next_step: &'static str,
    },
    /// A tensor's values are outside the folder of the file.
    Outside {
        /// The tensor.
        tensor: String,
        /// The path in the file.
        location: String,
    },
    /// The values of the tensors are in more files than any network has.
    TooManyFiles {
        /// The maximum number of files.
        max: usize,
    },
}

impl ReadError {
    /// What is wrong, without the next step if that is known apart from it.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Io { path, source } => format!("{}: {source}", path.display()),
            Self::NotOnnx(reason) => format!("this is not an ONNX model: {reason}"),
            Self::TooLarge { reason, .. } => (*reason).to_string(),
            Self::Values { tensor, reason, .. } => {
                format!("the values of tensor '{}' cannot be read: {reason}", shorten(tensor))
            }
            Self::Outside { tensor, location } => format!(
                "the values of tensor '{}' are in '{}', which is not a file below the model's folder",
                shorten(tensor),
                shorten(location)
            ),
            Self::TooManyFiles { max } => format!("the values of its tensors are in more than {max} files"),
        }
    }

    /// The sentence with the next step.
    pub(crate) fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { next_step, .. } | Self::Values { next_step, .. } => Some(*next_step),
            Self::Outside { .. } => Some(PUT_BESIDE),
            Self::TooManyFiles { .. } => {
                Some("Save the tensors as one file: onnx.save_model(model, FILE, save_as_external_data=True).")
            }
            Self::Io { .. } | Self::NotOnnx(_) => None,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        self.next_step().map_or(Ok(()), |step| write!(f, ". {step}"))
    }
}
