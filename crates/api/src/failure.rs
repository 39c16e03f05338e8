//! An error on its way to the client, and what the rooms' errors mean to him. Causes that are for the operator alone
//! are logged, not sent.

use std::time::Duration;

use poem::error::ResponseError;
use poem::http::StatusCode;

use super::error::{Code, ErrorBody};
use kiln_classifier::{AdmitError, BatchError, ClassifyError, ImageError};
use kiln_feedback::FeedbackError;
use kiln_server::auth::AuthError;
use kiln_classifier::registry::LookupError;

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

    /// A fault of the server's own; the cause is for the log.
    pub(super) fn fault() -> Self {
        Self::new(Code::Internal, "the request failed because of a fault in the server")
    }

    /// More of something than one request may bring.
    pub(super) fn too_many(what: &str, count: usize, most: usize) -> Self {
        Self::new(Code::TooManyFiles, format!("{count} {what} came in one request; at most {most} are taken"))
    }

    pub(super) fn retry_after(mut self, after: Duration) -> Self {
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
            ImageError::TooManyPixels { .. } | ImageError::TooManyBytes { .. } => Code::TooManyPixels,
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
            ClassifyError::Admit(AdmitError::ShareFull { retry_after, .. }) => {
                Self::new(Code::ShareFull, message).retry_after(retry_after)
            }
            ClassifyError::Admit(AdmitError::TooLate { retry_after, .. }) => {
                Self::new(Code::DeadlineUnmeetable, message).retry_after(retry_after)
            }
            ClassifyError::Batch(BatchError::DeadlinePassed { retry_after, .. }) => {
                Self::new(Code::DeadlinePassed, message).retry_after(retry_after)
            }
            ClassifyError::Admit(AdmitError::Closed) | ClassifyError::Batch(BatchError::Closed) => {
                Self::new(Code::Unavailable, "the server takes no more pictures")
            }
            ClassifyError::Admit(AdmitError::Recovering) | ClassifyError::Batch(BatchError::Recovering) => {
                Self::new(Code::Unavailable, message)
            }
            // What the device or the decoder said is for the operator, not for the client.
            // The batcher has logged it once for the whole batch.
            ClassifyError::Batch(BatchError::Failed(_)) => {
                Self::new(Code::DeviceFailed, "the device failed on this picture's batch")
            }
            ClassifyError::Batch(BatchError::NotFinite) => {
                Self::new(Code::Internal, "the model has no finite score for this picture: its weights do not do")
            }
            ClassifyError::Pool(cause) => {
                tracing::error!(%cause, "the decoder failed");
                Self::new(Code::Internal, "the picture could not be decoded because of a fault in the server")
            }
        }
    }
}

impl From<AuthError> for Failure {
    fn from(denied: AuthError) -> Self {
        let message = denied.to_string();
        match denied {
            AuthError::TooManyFailures(wait) => Self::new(Code::TooManyFailures, message).retry_after(wait),
            AuthError::UnknownKey => Self::new(Code::KeyInvalid, message),
            AuthError::Expired => Self::new(Code::KeyExpired, message),
            AuthError::Token(_) => Self::new(Code::TokenInvalid, message),
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

impl From<FeedbackError> for Failure {
    fn from(error: FeedbackError) -> Self {
        let code = match &error {
            FeedbackError::UnknownPrediction(_) => Code::UnknownPrediction,
            FeedbackError::UnknownClass { .. }
            | FeedbackError::UnknownLabel { .. }
            | FeedbackError::AmbiguousLabel { .. } => Code::UnknownClass,
            FeedbackError::Unavailable => Code::FeedbackUnavailable,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_image::PoolError;
    use kiln_inference::EngineError;

    fn told(error: impl Into<Failure>) -> (u16, &'static str, Option<u64>, String) {
        let failure = error.into();
        let after = failure.retry_after.map(|after| after.as_secs());
        (failure.code.status(), failure.code.word(), after, failure.message)
    }

    #[test]
    fn trouble_that_passes_says_when_and_trouble_that_stays_says_that_there_is_nothing_to_wait_for() {
        let retry_after = Duration::from_secs(7);
        let overloaded = told(ClassifyError::Admit(AdmitError::Overloaded { retry_after }));
        assert_eq!((overloaded.0, overloaded.1, overloaded.2), (429, "overloaded", Some(7)));
        let expected = Duration::from_secs(31);
        let hopeless = told(ClassifyError::Admit(AdmitError::TooLate { expected, retry_after }));
        assert_eq!((hopeless.0, hopeless.1, hopeless.2), (429, "deadline_unmeetable", Some(7)));
        let queued = Duration::from_secs(30);
        let late = told(ClassifyError::Batch(BatchError::DeadlinePassed { queued, retry_after }));
        assert_eq!((late.0, late.1, late.2), (429, "deadline_passed", Some(7)));
        for closed in [ClassifyError::Admit(AdmitError::Closed), ClassifyError::Batch(BatchError::Closed)] {
            let closed = told(closed);
            assert_eq!((closed.0, closed.1, closed.2), (503, "unavailable", Some(1)));
        }
        for recovering in [ClassifyError::Admit(AdmitError::Recovering), ClassifyError::Batch(BatchError::Recovering)] {
            let recovering = told(recovering);
            assert_eq!((recovering.0, recovering.1, recovering.2), (503, "unavailable", Some(1)));
        }
        let starting = told(LookupError::Starting);
        assert_eq!((starting.0, starting.1, starting.2), (503, "starting", Some(1)));
    }

    #[test]
    fn what_broke_inside_is_not_told_outside() {
        let device = EngineError::Device("0xdead at queue 3".to_string());
        let panicked = EngineError::Panicked("0xdead at queue 3".to_string());
        for error in [device, panicked] {
            let (status, code, after, message) = told(ClassifyError::Batch(BatchError::Failed(error)));
            assert_eq!((status, code, after), (500, "device_failed", None));
            assert!(!message.contains("0xdead"), "{message}");
        }
        let (status, code, _, message) = told(ClassifyError::Pool(PoolError::Panicked));
        assert_eq!((status, code), (500, "internal_error"));
        assert!(!message.contains("panic"), "{message}");
    }
}
