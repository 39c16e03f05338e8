//! Why an operator cannot be converted.

use std::io;

use crate::onnx::{PUT_BESIDE, ReadError, TensorError};

/// Why an operator cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// A clause such as "its axis 3 is outside the input".
    pub(crate) reason: String,
    /// A sentence with the next step; `None` if the general one of the caller applies.
    pub(crate) next_step: Option<&'static str>,
}

impl Problem {
    /// A problem with a next step of its own.
    pub(crate) fn with_next_step(reason: String, next_step: &'static str) -> Self {
        Self { reason, next_step: Some(next_step) }
    }
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        Self { reason, next_step: None }
    }
}

impl From<&str> for Problem {
    fn from(reason: &str) -> Self {
        reason.to_string().into()
    }
}

impl From<TensorError> for Problem {
    fn from(error: TensorError) -> Self {
        match error {
            TensorError::Read(ReadError::Io { path, source }) => {
                let next_step = match source.kind() {
                    io::ErrorKind::NotFound => PUT_BESIDE,
                    _ => "Check that it is a regular file, and that Kiln may read it.",
                };
                let reason = format!("its values are in a file that cannot be read: {}: {source}", path.display());
                Self::with_next_step(reason, next_step)
            }
            TensorError::Read(error) => Self { reason: error.reason(), next_step: error.next_step() },
            other @ TensorError::Invalid { .. } => other.to_string().into(),
        }
    }
}
