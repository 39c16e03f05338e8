//! The errors of each operation in the OpenAPI document.
//!
//! The return type of a handler names a set of error codes, such as `OperationError<PredictErrors>`. From that set come the
//! error responses in the document. `error.rs` renders the error itself.

use std::marker::PhantomData;

use poem_openapi::ApiResponse;
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::error::{ApiError, ErrorBody, ErrorCode};

/// The set of errors that an operation can return.
pub(super) trait ErrorSet: Send + Sync + 'static {
    fn includes(code: ErrorCode) -> bool;
}

/// Errors of operations that only authenticate.
pub(super) struct AuthErrors;
/// Errors of operations that look up a model.
pub(super) struct ModelErrors;
/// Errors of operations on the model repository.
pub(super) struct RepositoryErrors;
/// Errors of operations that read images.
pub(super) struct ImageErrors;
/// Errors of operations that classify images.
pub(super) struct PredictErrors;
/// Errors of operations that return embeddings.
pub(super) struct EmbedErrors;
/// Errors of operations that score tensors or images.
pub(super) struct InferErrors;
/// Errors of giving feedback.
pub(super) struct FeedbackErrors;
/// Errors of the feedback summary.
pub(super) struct SummaryErrors;
/// Errors of reloading the key file.
pub(super) struct KeyReloadErrors;

impl ErrorSet for AuthErrors {
    fn includes(code: ErrorCode) -> bool {
        matches!(
            code,
            ErrorCode::KeyMissing
                | ErrorCode::KeyInvalid
                | ErrorCode::KeyExpired
                | ErrorCode::TokenInvalid
                | ErrorCode::ScopeMissing
                | ErrorCode::TooManyAuthFailures
                | ErrorCode::RateExceeded
                | ErrorCode::Internal
        )
    }
}

impl ErrorSet for ModelErrors {
    fn includes(code: ErrorCode) -> bool {
        AuthErrors::includes(code)
            || matches!(
                code,
                ErrorCode::Malformed
                    | ErrorCode::UnknownModel
                    | ErrorCode::UnknownVersion
                    | ErrorCode::Starting
                    | ErrorCode::Unavailable
            )
    }
}

impl ErrorSet for RepositoryErrors {
    fn includes(code: ErrorCode) -> bool {
        ModelErrors::includes(code)
            || is_body_error(code)
            || matches!(code, ErrorCode::NoModelRepository | ErrorCode::ModelNotLoaded)
    }
}

impl ErrorSet for ImageErrors {
    fn includes(code: ErrorCode) -> bool {
        ModelErrors::includes(code)
            || is_body_error(code)
            || matches!(
                code,
                ErrorCode::TooManyFiles
                    | ErrorCode::TooManyPixels
                    | ErrorCode::UnknownFormat
                    | ErrorCode::FormatNotAccepted
                    | ErrorCode::ExtensionNotAccepted
                    | ErrorCode::UnsupportedContentType
                    | ErrorCode::UndecodableImage
                    | ErrorCode::QueueShareFull
                    | ErrorCode::DeadlineUnmeetable
                    | ErrorCode::DeadlinePassed
                    | ErrorCode::DeviceFailed
            )
    }
}

impl ErrorSet for PredictErrors {
    fn includes(code: ErrorCode) -> bool {
        ImageErrors::includes(code) || code == ErrorCode::ModelEmbeds
    }
}

impl ErrorSet for EmbedErrors {
    fn includes(code: ErrorCode) -> bool {
        ImageErrors::includes(code) || code == ErrorCode::ModelClassifies
    }
}

impl ErrorSet for InferErrors {
    fn includes(code: ErrorCode) -> bool {
        ImageErrors::includes(code) || matches!(code, ErrorCode::NonFiniteOutput | ErrorCode::ModelEmbeds)
    }
}

impl ErrorSet for FeedbackErrors {
    fn includes(code: ErrorCode) -> bool {
        AuthErrors::includes(code)
            || is_body_error(code)
            || matches!(
                code,
                ErrorCode::UnknownClass
                    | ErrorCode::UnknownPrediction
                    | ErrorCode::FeedbackTooLarge
                    | ErrorCode::FeedbackUnavailable
            )
    }
}

impl ErrorSet for SummaryErrors {
    fn includes(code: ErrorCode) -> bool {
        ModelErrors::includes(code) || code == ErrorCode::FeedbackUnavailable
    }
}

impl ErrorSet for KeyReloadErrors {
    fn includes(code: ErrorCode) -> bool {
        AuthErrors::includes(code) || code == ErrorCode::KeyFileRefused
    }
}

/// Returns whether reading any body can fail with that code.
fn is_body_error(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Malformed
            | ErrorCode::RequestTimeout
            | ErrorCode::LengthRequired
            | ErrorCode::BodyTooLarge
            | ErrorCode::Overloaded
    )
}

/// An error of an operation whose errors are the set `E`.
#[derive(Debug)]
pub(super) struct OperationError<E>(ApiError, PhantomData<fn() -> E>);

impl<E, T: Into<ApiError>> From<T> for OperationError<E> {
    fn from(error: T) -> Self {
        Self(error.into(), PhantomData)
    }
}

impl<E: ErrorSet> From<OperationError<E>> for poem::Error {
    fn from(error: OperationError<E>) -> Self {
        error.0.into()
    }
}

impl<E: ErrorSet> ApiResponse for OperationError<E> {
    fn meta() -> MetaResponses {
        let mut responses: Vec<MetaResponse> = Vec::new();
        for code in ErrorCode::ALL.iter().copied().filter(|code| E::includes(*code)) {
            if !responses.iter().any(|response| response.status == Some(code.status())) {
                responses.push(response(code.status()));
            }
        }
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        ErrorBody::register(registry);
    }
}

fn response(status: u16) -> MetaResponse {
    MetaResponse {
        description: description(status),
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: Json::<ErrorBody>::CONTENT_TYPE,
            schema: Json::<ErrorBody>::schema_ref(),
        }],
        headers: headers(status),
    }
}

/// Describes the headers of an error with that status. `middleware.rs` and `error.rs` send them.
fn headers(status: u16) -> Vec<MetaHeader> {
    let header = |name: &str, description: &str, schema| MetaHeader {
        name: name.to_string(),
        description: Some(description.to_string()),
        required: true,
        deprecated: false,
        schema,
    };
    let mut headers = vec![header("X-Request-Id", "The request id, as in `request_id`.", String::schema_ref())];
    match status {
        401 | 403 => headers.push(header("WWW-Authenticate", "The credentials to send.", String::schema_ref())),
        429 | 503 | 504 => {
            headers.push(header("Retry-After", "Seconds to wait before the next attempt.", u64::schema_ref()))
        }
        _ => {}
    }
    headers
}

fn description(status: u16) -> &'static str {
    match status {
        400 => "Malformed parameter, form or JSON; empty file; unknown class; or a model that cannot be loaded",
        401 => "Missing or invalid key or token; see `WWW-Authenticate`",
        403 => "The key or token lacks the scope; see `WWW-Authenticate`",
        404 => "Unknown model, version or prediction; or no model repository",
        408 => "The body did not arrive in time",
        409 => "The key file is invalid; the previous keys stay in use",
        411 => "Neither a `Content-Length` nor chunked transfer encoding",
        413 => "The body is too large, the image has too many pixels, or the form has too many files",
        415 => "The image format, the file extension or the content type is not accepted",
        422 => "The image does not decode, or the scores cannot be sent as JSON because they are not finite",
        429 => "Rate limit exceeded, server overloaded, or the deadline cannot be met; with `Retry-After` in seconds",
        500 => "Internal error of the server or its device",
        503 => "Starting, shutting down, or feedback not available; with `Retry-After` in seconds",
        504 => "The deadline passed while the image waited in the queue; with `Retry-After` in seconds",
        _ => "Error",
    }
}
