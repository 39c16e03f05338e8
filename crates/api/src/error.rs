//! The error table of the API: every error that a client can receive, with its HTTP status, stable code and hint.
//!
//! `error_mapping.rs` decides which internal error has which code.

use std::time::Duration;

use poem::Response;
use poem::error::ResponseError;
use poem::http::StatusCode;
use poem::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use poem_openapi::Object;
use poem_openapi::types::ToJSON;

/// Describes why a request failed. All errors have this shape.
#[derive(Clone, Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ErrorBody {
    /// Message for people.
    pub(super) error: String,
    /// Stable code for programs.
    pub(super) code: String,
    /// Request id, as in the `X-Request-Id` header and in the server's log.
    pub(super) request_id: String,
    /// What to do about the error, where a hint helps.
    pub(super) hint: Option<String>,
}

/// Declares [`ErrorCode`]: for each variant its HTTP status, its code and an optional hint.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $code:literal $hint:expr;)*) => {
        /// The kind of an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// All codes, in the order of the table.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the HTTP status.
            pub(super) fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Returns the stable code that responses and metrics use.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Returns advice for the client.
            pub(super) fn hint(self) -> Option<&'static str> {
                match self { $(Self::$variant => $hint,)* }
            }
        }
    };
}

/// Hint of the errors that always have a `Retry-After` header.
const RETRY: Option<&str> = Some("Retry after the number of seconds in the Retry-After header.");

error_codes! {
    /// A form, JSON or a parameter does not parse.
    Malformed = 400 "malformed_request" Some("See /docs for the parameters and the body of this operation.");
    /// The model has no such class, or several classes of that name.
    UnknownClass = 400 "unknown_class" Some("GET /models/{name} lists the classes by index.");
    /// The model returns classes, and the operation returns embeddings.
    ModelClassifies = 400 "model_returns_classes" Some("POST /predict returns the classes of an image. GET /models lists the task of each model.");
    /// The model returns embeddings, and the operation returns classes.
    ModelEmbeds = 400 "model_returns_embeddings" Some("POST /embed returns the embedding of an image. GET /models lists the task of each model.");
    /// The model's files cannot be loaded; what was served before is still served.
    ModelNotLoaded = 400 "model_not_loaded" Some("Correct the model's files; POST /v2/repository/index lists the state of each version.");
    /// The request has no key.
    KeyMissing = 401 "key_missing" Some("Send the key as 'X-API-Key: KEY' or 'Authorization: Bearer KEY'.");
    /// The key is unknown.
    KeyInvalid = 401 "key_invalid" Some("Check the key: it is not one of the server's keys.");
    /// The key has expired.
    KeyExpired = 401 "key_expired" Some("Ask the operator for a new key.");
    /// The token is invalid.
    TokenInvalid = 401 "token_invalid" Some("Get a new token from the identity provider.");
    /// The key or token is valid, but lacks the scope of the operation.
    ScopeMissing = 403 "scope_missing" Some("Ask the operator for a key or token with that scope.");
    /// The path does not exist.
    NotFound = 404 "not_found" Some("See /docs for the paths.");
    /// The model does not exist.
    UnknownModel = 404 "unknown_model" Some("GET /models lists the models.");
    /// The model has no such version.
    UnknownVersion = 404 "unknown_version" Some("GET /models lists the versions.");
    /// The server has no model repository.
    NoModelRepository = 404 "no_model_repository" Some("Start the server with --models FOLDER.");
    /// The prediction does not exist or has expired.
    UnknownPrediction = 404 "unknown_prediction" Some("Predictions without feedback expire; see --prediction-retention-count and --prediction-retention.");
    /// The path exists, but not with this method.
    MethodNotAllowed = 405 "method_not_allowed" Some("The Allow header lists the methods.");
    /// The client stopped sending the body, or sent it too slowly.
    RequestTimeout = 408 "request_timeout" None;
    /// The key file is invalid; the previous keys stay in use.
    KeyFileRefused = 409 "key_file_refused" None;
    /// The request has neither a length nor chunks.
    LengthRequired = 411 "length_required" Some("Send a Content-Length header, or use chunked transfer encoding.");
    /// The body is too large.
    BodyTooLarge = 413 "body_too_large" Some("Send a smaller file, or raise --max-body-bytes.");
    /// The feedback is too large.
    FeedbackTooLarge = 413 "feedback_too_large" Some("A note may have at most 1000 characters.");
    /// One request has too many files.
    TooManyFiles = 413 "too_many_files" Some("Send fewer files per request, or raise --max-batch-files.");
    /// The image has more pixels than the server decodes.
    TooManyPixels = 413 "too_many_pixels" Some("Scale the image down, or raise --max-pixels.");
    /// The bytes are not an image of a format that Kiln decodes.
    UnknownFormat = 415 "unknown_format" Some("The first bytes of the file decide the format, not its name.");
    /// The image has a known format that the server does not accept.
    FormatNotAccepted = 415 "format_not_accepted" Some("--formats sets the accepted formats.");
    /// The file name has an extension that the server does not accept.
    ExtensionNotAccepted = 415 "extension_not_accepted" Some("--formats sets the accepted formats.");
    /// The body has another content type or encoding than the operation takes.
    UnsupportedContentType = 415 "content_type_not_supported" Some("See /docs for the body of this operation.");
    /// The image has an accepted format, but does not decode.
    UndecodableImage = 422 "undecodable_image" Some("The file may be truncated or corrupt. With --truncated accept, the server classifies what can be decoded.");
    /// The scores of a client's tensor are not finite: neither JSON nor a class can express them.
    NonFiniteOutput = 422 "output_not_finite" None;
    /// The client's address sent too many wrong keys.
    TooManyAuthFailures = 429 "too_many_failures" Some("Check the key; retry after the number of seconds in the Retry-After header.");
    /// The rate limit of the key, or of the subject of the token, is exceeded.
    RateExceeded = 429 "rate_exceeded" RETRY;
    /// The key's share of the queue is full.
    QueueShareFull = 429 "queue_share_full" RETRY;
    /// The queue is full.
    Overloaded = 429 "overloaded" RETRY;
    /// The deadline would pass while the image waits in the queue.
    DeadlineUnmeetable = 429 "deadline_unmeetable" RETRY;
    /// The device failed on this batch.
    DeviceFailed = 500 "device_failed" None;
    /// An internal error of the server.
    Internal = 500 "internal_error" None;
    /// Models are being loaded.
    Starting = 503 "starting" Some("Wait until /health/ready returns 200.");
    /// The server is shutting down or has failed.
    Unavailable = 503 "unavailable" Some("Try another replica.");
    /// Feedback cannot be stored or read.
    FeedbackUnavailable = 503 "feedback_unavailable" Some("Retry later; the server's log has the cause.");
    /// The deadline passed while the image waited in the queue.
    DeadlinePassed = 504 "deadline_passed" RETRY;
}

/// An error that is sent to the client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl ApiError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        // A 503 always has a Retry-After header; one second is its least value.
        let retry_after = (code.status() == 503).then_some(Duration::from_secs(1));
        Self { code, message: message.into(), retry_after }
    }

    /// Creates the error of a request that does not parse.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Malformed, message)
    }

    /// The same with a message that may quote what the client sent: its first 300 bytes.
    pub(super) fn malformed_quoting(message: &str) -> Self {
        Self::malformed(&message[..message.floor_char_boundary(300)])
    }

    /// Creates an error without details. The caller logs the cause.
    pub(super) fn internal() -> Self {
        Self::new(ErrorCode::Internal, "the request failed because of an internal error")
    }

    /// Creates the error of a request with more than `max` of `items`.
    pub(super) fn too_many(items: &str, count: usize, max: usize) -> Self {
        Self::new(ErrorCode::TooManyFiles, format!("the request has {count} {items}; the maximum is {max}"))
    }

    /// Sets when the client should retry.
    pub(super) fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Returns the JSON body of the error.
    pub(super) fn body(&self, request_id: &str) -> ErrorBody {
        ErrorBody {
            error: self.message.clone(),
            code: self.code.as_str().to_string(),
            request_id: request_id.to_string(),
            hint: self.code.hint().map(ToString::to_string),
        }
    }

    /// Renders the error as a response: status, headers and JSON.
    pub(super) fn to_response(&self, request_id: &str) -> Response {
        let mut response = Response::builder().status(self.status()).body(self.body(request_id).to_json_string());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
        }
        if let Some(challenge) = challenge(self.code) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl ResponseError for ApiError {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Returns the value of `WWW-Authenticate` (RFC 6750, section 3).
fn challenge(code: ErrorCode) -> Option<&'static str> {
    match (code.status(), code) {
        (401, ErrorCode::KeyMissing) => Some("Bearer realm=\"kiln\""),
        (401, _) => Some("Bearer realm=\"kiln\", error=\"invalid_token\""),
        (403, _) => Some("Bearer realm=\"kiln\", error=\"insufficient_scope\""),
        _ => None,
    }
}
