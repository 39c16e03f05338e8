//! Puts the status table into the OpenAPI document: each operation's errors are a list of codes, and a failure
//! that a handler returns becomes poem's error. `error_answer.rs` writes its body.

use std::marker::PhantomData;

use poem_openapi::ApiResponse;
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::error::{Code, ErrorBody};
use super::failure::Failure;

/// Which errors an operation can answer with.
pub(super) trait Errors: Send + Sync + 'static {
    /// All of them.
    fn includes(code: Code) -> bool;
}

/// Errors of operations that take pictures.
pub(super) struct OfPictures;
/// Errors of operations that take tensors or pictures.
pub(super) struct OfTensors;
/// Errors of operations that look something up.
pub(super) struct OfLookups;
/// Errors of summing up what people have said.
pub(super) struct OfSummaries;
/// Errors of operations that only ask who is calling.
pub(super) struct OfCallers;
/// Errors of telling what a picture shows.
pub(super) struct OfFeedback;
/// Errors of reading the key file again.
pub(super) struct OfKeys;

impl Errors for OfPictures {
    fn includes(code: Code) -> bool {
        OfLookups::includes(code)
            || of_body(code)
            || matches!(
                code,
                Code::TooManyFiles
                    | Code::TooManyPixels
                    | Code::UnknownFormat
                    | Code::FormatNotAccepted
                    | Code::ExtensionNotAccepted
                    | Code::ContentType
                    | Code::Undecodable
                    | Code::ShareFull
                    | Code::DeadlineUnmeetable
                    | Code::DeadlinePassed
                    | Code::DeviceFailed
            )
    }
}

impl Errors for OfTensors {
    fn includes(code: Code) -> bool {
        OfPictures::includes(code) || code == Code::NotFinite
    }
}

impl Errors for OfLookups {
    fn includes(code: Code) -> bool {
        OfCallers::includes(code)
            || matches!(
                code,
                Code::Malformed | Code::UnknownModel | Code::UnknownVersion | Code::Starting | Code::Unavailable
            )
    }
}

impl Errors for OfSummaries {
    fn includes(code: Code) -> bool {
        OfLookups::includes(code) || code == Code::FeedbackUnavailable
    }
}

impl Errors for OfCallers {
    fn includes(code: Code) -> bool {
        matches!(
            code,
            Code::KeyMissing
                | Code::KeyInvalid
                | Code::KeyExpired
                | Code::TokenInvalid
                | Code::ScopeMissing
                | Code::TooManyFailures
                | Code::RateExceeded
                | Code::Internal
        )
    }
}

impl Errors for OfFeedback {
    fn includes(code: Code) -> bool {
        OfCallers::includes(code)
            || of_body(code)
            || matches!(
                code,
                Code::UnknownClass | Code::UnknownPrediction | Code::FeedbackTooLarge | Code::FeedbackUnavailable
            )
    }
}

impl Errors for OfKeys {
    fn includes(code: Code) -> bool {
        OfCallers::includes(code) || code == Code::KeyFileRefused
    }
}

/// Errors of reading a body, whatever is in it.
fn of_body(code: Code) -> bool {
    matches!(code, Code::Malformed | Code::ClientTooSlow | Code::LengthRequired | Code::BodyTooLarge | Code::Overloaded)
}

/// A failure of an operation whose errors are `E`.
#[derive(Debug)]
pub(super) struct Refused<E>(Failure, PhantomData<fn() -> E>);

impl<E, T: Into<Failure>> From<T> for Refused<E> {
    fn from(failure: T) -> Self {
        Self(failure.into(), PhantomData)
    }
}

impl<E: Errors> From<Refused<E>> for poem::Error {
    fn from(refused: Refused<E>) -> Self {
        refused.0.into()
    }
}

impl<E: Errors> ApiResponse for Refused<E> {
    fn meta() -> MetaResponses {
        let mut responses: Vec<MetaResponse> = Vec::new();
        for code in Code::ALL.iter().copied().filter(|code| E::includes(*code)) {
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
        description: describe(status),
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: Json::<ErrorBody>::CONTENT_TYPE,
            schema: Json::<ErrorBody>::schema_ref(),
        }],
        headers: headers(status),
    }
}

/// The headers that `request.rs` and `error_answer.rs` send with an error of that status.
fn headers(status: u16) -> Vec<MetaHeader> {
    let header = |name: &str, description: &str, schema| MetaHeader {
        name: name.to_string(),
        description: Some(description.to_string()),
        required: true,
        deprecated: false,
        schema,
    };
    let mut headers = vec![header("X-Request-Id", "As `request_id`.", String::schema_ref())];
    match status {
        401 | 403 => headers.push(header("WWW-Authenticate", "What to send.", String::schema_ref())),
        429 | 503 => headers.push(header("Retry-After", "Seconds to wait.", u64::schema_ref())),
        _ => {}
    }
    headers
}

fn describe(status: u16) -> &'static str {
    match status {
        400 => "Malformed: a parameter, a form, JSON or an empty file; or an unknown class",
        401 => "No key or token, or one that does not hold; with `WWW-Authenticate`",
        403 => "The key or token lacks the scope; with `WWW-Authenticate`",
        404 => "Unknown model, version or prediction",
        408 => "The body stopped coming",
        409 => "The key file is wrong; the keys stay as they were",
        411 => "Neither a `Content-Length` nor chunks",
        413 => "The body is too large, the picture has too many pixels, or the form too many files",
        415 => "Not one of the accepted formats, or another extension",
        422 => "The right format, but it does not decode, or scores that JSON cannot hold",
        429 => "Too often, overloaded, or the deadline passed or would pass; with `Retry-After` in seconds",
        500 => "A fault of the server or its device",
        503 => "Starting, shutting down, or unable to write or read; with `Retry-After` in seconds",
        _ => "Error",
    }
}
