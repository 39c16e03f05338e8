//! Maps internal errors to API errors. Causes that concern only the operator are logged, not sent to the client.

use poem::Error;
use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::StatusCode;

use super::error::{ApiError, ErrorCode};
use super::model_repository::RepositoryError;
use kiln_classifier::registry::LookupError;
use kiln_classifier::{AdmitError, BatchError, ClassifyError, ImageError};
use kiln_feedback::FeedbackError;
use kiln_server::auth::AuthError;

/// Returns the [`ApiError`] inside a poem error, or maps an error of the framework.
pub(super) fn from_poem_error(error: Error) -> ApiError {
    if let Some(error) = error.downcast_ref::<ApiError>() {
        return error.clone();
    }
    if error.is::<NotFoundError>() {
        return ApiError::new(ErrorCode::NotFound, "this path does not exist");
    }
    if error.is::<MethodNotAllowedError>() {
        return ApiError::new(ErrorCode::MethodNotAllowed, "this path does not support this method");
    }
    match error.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::new(ErrorCode::UnsupportedContentType, error.to_string()),
        status if status.is_client_error() => ApiError::malformed(error.to_string()),
        _ => {
            tracing::error!(%error, "request failed in the web framework");
            ApiError::internal()
        }
    }
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> Self {
        let code = match &error {
            ImageError::Empty => ErrorCode::Malformed,
            ImageError::UnknownFormat { .. } | ImageError::OtherFormat(_) => ErrorCode::UnknownFormat,
            ImageError::FormatNotAccepted { .. } => ErrorCode::FormatNotAccepted,
            ImageError::ExtensionNotAccepted { .. } => ErrorCode::ExtensionNotAccepted,
            ImageError::TooManyPixels { .. } | ImageError::TooManyBytes { .. } => ErrorCode::TooManyPixels,
            ImageError::Undecodable { .. } => ErrorCode::UndecodableImage,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ClassifyError> for ApiError {
    fn from(error: ClassifyError) -> Self {
        let message = error.to_string();
        match error {
            ClassifyError::Image(error) => error.into(),
            ClassifyError::Admit(AdmitError::Overloaded { retry_after }) => {
                Self::new(ErrorCode::Overloaded, "the server already holds its maximum number of images")
                    .with_retry_after(retry_after)
            }
            ClassifyError::Admit(AdmitError::ShareFull { retry_after, .. }) => {
                Self::new(ErrorCode::QueueShareFull, message).with_retry_after(retry_after)
            }
            ClassifyError::Admit(AdmitError::DeadlineUnmeetable { retry_after, .. }) => {
                Self::new(ErrorCode::DeadlineUnmeetable, message).with_retry_after(retry_after)
            }
            ClassifyError::Batch(BatchError::DeadlinePassed { retry_after, .. }) => {
                Self::new(ErrorCode::DeadlinePassed, message).with_retry_after(retry_after)
            }
            ClassifyError::Admit(AdmitError::Closed) | ClassifyError::Batch(BatchError::Closed) => {
                Self::new(ErrorCode::Unavailable, "the server is shutting down")
            }
            ClassifyError::Admit(AdmitError::Recovering) | ClassifyError::Batch(BatchError::Recovering) => {
                Self::new(ErrorCode::Unavailable, message)
            }
            // The cause concerns the operator. The batcher has logged it, once for the whole batch.
            ClassifyError::Batch(BatchError::Failed(_)) => {
                Self::new(ErrorCode::DeviceFailed, "the device failed on the batch of this image")
            }
            ClassifyError::Batch(BatchError::NotFinite) => Self::new(
                ErrorCode::Internal,
                "the model returned non-finite scores for this image; its weights are probably corrupt",
            ),
            ClassifyError::Pool(cause) => {
                tracing::error!(%cause, "image decoder failed");
                Self::new(ErrorCode::Internal, "the image could not be decoded because of an internal error")
            }
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::TooManyFailures(wait) => {
                Self::new(ErrorCode::TooManyAuthFailures, message).with_retry_after(wait)
            }
            AuthError::UnknownKey => Self::new(ErrorCode::KeyInvalid, message),
            AuthError::Expired => Self::new(ErrorCode::KeyExpired, message),
            AuthError::Token(_) => Self::new(ErrorCode::TokenInvalid, message),
        }
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        let code = match &error {
            LookupError::Starting => ErrorCode::Starting,
            LookupError::UnknownModel { .. } => ErrorCode::UnknownModel,
            LookupError::UnknownVersion { .. } => ErrorCode::UnknownVersion,
        };
        Self::new(code, error.to_string())
    }
}

impl From<RepositoryError> for ApiError {
    fn from(error: RepositoryError) -> Self {
        let code = match &error {
            RepositoryError::UnknownModel(_) => ErrorCode::UnknownModel,
            RepositoryError::NotLoaded { .. } => ErrorCode::ModelNotLoaded,
            RepositoryError::Unavailable => ErrorCode::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}

impl From<FeedbackError> for ApiError {
    fn from(error: FeedbackError) -> Self {
        let code = match &error {
            FeedbackError::UnknownPrediction(_) => ErrorCode::UnknownPrediction,
            FeedbackError::UnknownClass { .. }
            | FeedbackError::UnknownLabel { .. }
            | FeedbackError::AmbiguousLabel { .. } => ErrorCode::UnknownClass,
            FeedbackError::Unavailable => ErrorCode::FeedbackUnavailable,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use kiln_image::PoolError;
    use kiln_inference::EngineError;

    /// Returns status, code, seconds to wait and message of the API error.
    fn mapped(error: impl Into<ApiError>) -> (u16, &'static str, Option<u64>, String) {
        let error = error.into();
        let after = error.retry_after.map(|after| after.as_secs());
        (error.code.status(), error.code.as_str(), after, error.message)
    }

    #[test]
    fn temporary_errors_have_a_retry_after() {
        let retry_after = Duration::from_secs(7);
        let overloaded = mapped(ClassifyError::Admit(AdmitError::Overloaded { retry_after }));
        assert_eq!((overloaded.0, overloaded.1, overloaded.2), (429, "overloaded", Some(7)));
        let expected = Duration::from_secs(31);
        let unmeetable = mapped(ClassifyError::Admit(AdmitError::DeadlineUnmeetable { expected, retry_after }));
        assert_eq!((unmeetable.0, unmeetable.1, unmeetable.2), (429, "deadline_unmeetable", Some(7)));
        let queued = Duration::from_secs(30);
        let late = mapped(ClassifyError::Batch(BatchError::DeadlinePassed { queued, retry_after }));
        assert_eq!((late.0, late.1, late.2), (504, "deadline_passed", Some(7)));
        for closed in [ClassifyError::Admit(AdmitError::Closed), ClassifyError::Batch(BatchError::Closed)] {
            let closed = mapped(closed);
            assert_eq!((closed.0, closed.1, closed.2), (503, "unavailable", Some(1)));
        }
        for recovering in [ClassifyError::Admit(AdmitError::Recovering), ClassifyError::Batch(BatchError::Recovering)] {
            let recovering = mapped(recovering);
            assert_eq!((recovering.0, recovering.1, recovering.2), (503, "unavailable", Some(1)));
        }
        let starting = mapped(LookupError::Starting);
        assert_eq!((starting.0, starting.1, starting.2), (503, "starting", Some(1)));
    }

    #[test]
    fn causes_are_not_sent_to_the_client() {
        let device = EngineError::Device("0xdead at queue 3".to_string());
        let panicked = EngineError::Panicked("0xdead at queue 3".to_string());
        for error in [device, panicked] {
            let (status, code, after, message) = mapped(ClassifyError::Batch(BatchError::Failed(error)));
            assert_eq!((status, code, after), (500, "device_failed", None));
            assert!(!message.contains("0xdead"), "{message}");
        }
        let (status, code, _, message) = mapped(ClassifyError::Pool(PoolError::Panicked));
        assert_eq!((status, code), (500, "internal_error"));
        assert!(!message.contains("panic"), "{message}");
    }
}
