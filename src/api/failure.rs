//! An error on its way to the client, and what the rooms' errors mean to him. Causes that are for the operator alone
//! are logged, not sent.

use std::time::Duration;

use poem::error::ResponseError;
use poem::http::StatusCode;

use super::error::{Code, ErrorBody};
use crate::classifier::{AdmitError, BatchError, ClassifyError, ImageError};
use crate::registry::LookupError;

/// A code, a sentence, and perhaps when to try again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        // 503 always carries a Retry-After; the least there is.
        let retry_after = (code.status() == 503).then_some(Duration::from_secs(1));
        Self { code, message: message.into(), retry_after }
    }

    fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(super) fn body(&self, request_id: &str) -> ErrorBody {
        ErrorBody {
            error: self.message.clone(),
            code: self.code.word().to_string(),
            request_id: request_id.to_string(),
            hint: self.code.hint().map(ToString::to_string),
        }
    }
}

impl ResponseError for Failure {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let code = match &error {
            ImageError::Empty => Code::Malformed,
            ImageError::UnknownFormat { .. } => Code::UnknownFormat,
            ImageError::FormatNotAccepted { .. } => Code::FormatNotAccepted,
            ImageError::ExtensionNotAccepted { .. } => Code::ExtensionNotAccepted,
            ImageError::TooManyPixels { .. } => Code::TooManyPixels,
            ImageError::Undecodable { .. } => Code::Undecodable,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ClassifyError> for Failure {
    fn from(error: ClassifyError) -> Self {
        let message = error.to_string();
        match error {
            ClassifyError::Image(error) => error.into(),
            ClassifyError::Admit(AdmitError::Overloaded { retry_after }) => {
                Self::new(Code::Overloaded, "the server has as many pictures as it can hold").retry_after(retry_after)
            }
            ClassifyError::Batch(BatchError::DeadlinePassed { retry_after, .. }) => {
                Self::new(Code::DeadlinePassed, message).retry_after(retry_after)
            }
            ClassifyError::Admit(AdmitError::Closed) | ClassifyError::Batch(BatchError::Closed) => {
                Self::new(Code::Unavailable, "the server takes no more pictures")
            }
            // What the device or the decoder said is for the operator, not for the client.
            // The batcher has logged it once for the whole batch.
            ClassifyError::Batch(BatchError::Failed(_)) => {
                Self::new(Code::DeviceFailed, "the device failed on this picture's batch")
            }
            ClassifyError::Pool(cause) => {
                tracing::error!(%cause, "the decoder failed");
                Self::new(Code::Internal, "the picture could not be decoded because of a fault in the server")
            }
        }
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        let code = match &error {
            LookupError::Starting => Code::Starting,
            LookupError::UnknownModel { .. } => Code::UnknownModel,
            LookupError::UnknownVersion { .. } => Code::UnknownVersion,
        };
        Self::new(code, error.to_string())
    }
}
