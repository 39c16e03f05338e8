//! The one status table: every error that a client can see, with its status, its stable code and a hint. Which of
//! the rooms' errors is which code is decided in `failure.rs`.

use poem_openapi::Object;

/// Why a request has no answer. The same shape for every error.
#[derive(Clone, Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ErrorBody {
    /// A sentence for a person.
    pub(super) error: String,
    /// A stable word for a program.
    pub(super) code: String,
    /// Id of the request, as in the `X-Request-Id` header and in the server's log.
    pub(super) request_id: String,
    /// What to do about it, where that helps.
    pub(super) hint: Option<String>,
}

/// Declares [`Code`]: a variant, its status, its word, and a hint.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $word:literal $hint:expr;)*) => {
        /// Every kind of error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The HTTP status.
            pub(super) fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The stable word in `code` and in metrics.
            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            pub(super) fn hint(self) -> Option<&'static str> {
                match self { $(Self::$variant => $hint,)* }
            }
        }
    };
}

codes! {
    /// Form, JSON or parameter that does not parse.
    Malformed = 400 "malformed_request" Some("See /docs for what this operation takes.");
    /// The model that answered has no such class, or several of that name.
    UnknownClass = 400 "unknown_class" Some("GET /models/{name} lists the classes by index.");
    /// No key came with the request.
    KeyMissing = 401 "key_missing" Some("Send the key as 'X-API-Key: KEY' or 'Authorization: Bearer KEY'.");
    /// Nobody has that key.
    KeyInvalid = 401 "key_invalid" Some("Check the key against those that the server was given.");
    /// The key was right once.
    KeyExpired = 401 "key_expired" Some("Ask the operator for a new key.");
    /// The token does not hold.
    TokenInvalid = 401 "token_invalid" Some("Get a new token from the identity provider.");
    /// The key is right, but does not open this.
    ScopeMissing = 403 "scope_missing" Some("Ask the operator for a key with that scope.");
    /// Nothing lives at this address.
    NotFound = 404 "not_found" Some("See /docs for the addresses.");
    /// No such model.
    UnknownModel = 404 "unknown_model" Some("GET /models lists the models.");
    /// No such version of the model.
    UnknownVersion = 404 "unknown_version" Some("GET /models lists the versions.");
    /// No such prediction, or none any more.
    UnknownPrediction = 404 "unknown_prediction" Some("Those without feedback are kept as long as --prediction-retention-count and --prediction-retention say.");
    /// The address is right, the method is not.
    MethodNotAllowed = 405 "method_not_allowed" Some("The Allow header lists the methods.");
    /// The body stopped coming.
    ClientTooSlow = 408 "request_timeout" None;
    /// The key file is wrong, and the keys are those of before.
    KeyFileRefused = 409 "key_file_refused" None;
    /// A body of which nobody tells how long it is, or that it comes in chunks.
    LengthRequired = 411 "length_required" Some("Send a Content-Length, or the body in chunks.");
    /// The body is too large.
    BodyTooLarge = 413 "body_too_large" Some("Send a smaller file, or raise --max-body-bytes.");
    /// Feedback is short.
    FeedbackTooLarge = 413 "feedback_too_large" Some("A note has 1000 characters at most.");
    /// More files than one request may bring.
    TooManyFiles = 413 "too_many_files" Some("Send fewer files a request, or raise --max-batch-files.");
    /// More pixels than the server decodes.
    TooManyPixels = 413 "too_many_pixels" Some("Scale the picture down, or raise --max-pixels.");
    /// The bytes are no picture that the server knows.
    UnknownFormat = 415 "unknown_format" Some("The first bytes of the file decide, not its name.");
    /// A picture, but of a format that the server was not told to accept.
    FormatNotAccepted = 415 "format_not_accepted" Some("The operator chooses the formats with --formats.");
    /// The file's name has an extension that the server was not told to accept.
    ExtensionNotAccepted = 415 "extension_not_accepted" Some("The operator chooses the formats with --formats.");
    /// The body is not of the type that the operation takes.
    ContentType = 415 "content_type_not_supported" Some("See /docs for what this operation takes.");
    /// The right type, but it will not decode.
    Undecodable = 422 "undecodable_image" Some("Is the file complete?");
    /// The scores of a client's tensor are not finite, and neither JSON nor a class has a form for that.
    NotFinite = 422 "output_not_finite" None;
    /// From the caller's address came too many wrong keys.
    TooManyFailures = 429 "too_many_failures" Some("Check the key; try again after the seconds in the Retry-After header.");
    /// The key's rate is used up.
    RateExceeded = 429 "rate_exceeded" Some("Try again after the seconds in the Retry-After header.");
    /// The key's part of the queue is full.
    ShareFull = 429 "queue_share_full" Some("Try again after the seconds in the Retry-After header.");
    /// The queue is full.
    Overloaded = 429 "overloaded" Some("Try again after the seconds in the Retry-After header.");
    /// The deadline would pass in the queue.
    DeadlineUnmeetable = 429 "deadline_unmeetable" Some("Try again after the seconds in the Retry-After header.");
    /// The deadline passed in the queue.
    DeadlinePassed = 429 "deadline_passed" Some("Try again after the seconds in the Retry-After header.");
    /// The device failed on this batch.
    DeviceFailed = 500 "device_failed" None;
    /// A fault of the server's own.
    Internal = 500 "internal_error" None;
    /// Models are being loaded.
    Starting = 503 "starting" Some("Wait until /health/ready answers 200.");
    /// Shutting down, or broken.
    Unavailable = 503 "unavailable" Some("Try another replica.");
    /// Feedback cannot be written.
    FeedbackUnavailable = 503 "feedback_unavailable" Some("Send it again later; the operator finds the cause in the log.");
}
