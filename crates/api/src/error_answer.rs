//! An error as it goes over the wire: the framework's own put into our words, and then its status, headers and JSON.

use poem::error::{MethodNotAllowedError, NotFoundError, ResponseError};
use poem::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use poem::http::{StatusCode, Uri};
use poem::{Error, Response};
use poem_openapi::types::ToJSON;

use super::allow::AllowTable;
use super::error::Code;
use super::failure::Failure;

/// Our own failure, or what the framework's error means.
pub(super) fn failure_of(error: Error) -> Failure {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.clone();
    }
    if error.is::<NotFoundError>() {
        return Failure::new(Code::NotFound, "there is nothing at this address");
    }
    if error.is::<MethodNotAllowedError>() {
        return Failure::new(Code::MethodNotAllowed, "this address does not take this method");
    }
    let code = match error.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::ContentType,
        status if status.is_client_error() => Code::Malformed,
        _ => {
            tracing::error!(%error, "a request failed");
            return Failure::fault();
        }
    };
    Failure::new(code, error.to_string())
}

/// The answer to the request of that id, for that address.
pub(super) fn render(failure: &Failure, id: &str, uri: &Uri, allow: &AllowTable) -> Response {
    let status = failure.status();
    let mut response = Response::builder().status(status).body(failure.body(id).to_json_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if let Some(after) = failure.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
    }
    if let Some(challenge) = challenge(failure.code) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, allow.methods(uri.path()));
    }
    response
}

/// What the caller should have sent (RFC 6750, 3).
fn challenge(code: Code) -> Option<&'static str> {
    match (code.status(), code) {
        (401, Code::KeyMissing) => Some("Bearer realm=\"kiln\""),
        (401, _) => Some("Bearer realm=\"kiln\", error=\"invalid_token\""),
        (403, _) => Some("Bearer realm=\"kiln\", error=\"insufficient_scope\""),
        _ => None,
    }
}
