//! Cross-origin resource sharing (CORS): which pages of other origins may read responses. Without a configured origin none may,
//! which is the browsers' default.
//!
//! poem's own middleware does not fit: it refuses requests of any origin that is not configured, even that of the server itself,
//! and it replaces the `Vary` header of the response.

use std::str::FromStr;
use std::sync::Arc;

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN, VARY,
};
use poem::http::uri::Authority;
use poem::http::{HeaderValue, Method, StatusCode};
use poem::{Endpoint, IntoResponse, Request, Response};

use super::route_table::RouteTable;

/// Request headers that pages may send besides the safelisted ones.
const ALLOWED_HEADERS: &str = "X-API-Key, Authorization, Content-Type, Content-Encoding, Cache-Control, X-Request-Id, \
                               X-Request-Timeout-Ms, Inference-Header-Content-Length";
/// Response headers that pages may read besides the safelisted ones.
const EXPOSED_HEADERS: &str = "X-Request-Id, Retry-After, Server-Timing, Cache-Status, Inference-Header-Content-Length";
/// How many seconds a browser may cache a preflight response: the maximum of Chromium.
const MAX_AGE: &str = "7200";

/// An origin whose pages may read responses, or `*` for all origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// Reports a text that is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin must be SCHEME://HOST or SCHEME://HOST:PORT without a path, or *")]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Parses an origin into the form that browsers send: lower case, without the default port of the scheme.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "*" {
            return Ok(Self(HeaderValue::from_static("*")));
        }
        let text = text.to_ascii_lowercase();
        let (scheme, rest) = text.split_once("://").ok_or(InvalidOrigin)?;
        let authority: Authority = rest.parse().map_err(|_| InvalidOrigin)?;
        let (host, port) = (authority.host(), authority.port_u16());
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let expected = port.map_or(host.to_string(), |port| format!("{host}:{port}"));
        // Host and port alone do not show user info, an empty port and the like.
        if !is_scheme || host.is_empty() || host.contains('*') || expected != rest {
            return Err(InvalidOrigin);
        }
        let is_default_port = matches!((scheme, port), ("http", Some(80)) | ("https", Some(443)));
        let origin = format!("{scheme}://{}", if is_default_port { host } else { rest });
        HeaderValue::try_from(origin).map(Self).map_err(|_| InvalidOrigin)
    }
}

/// The configured origins, and the methods of each path.
#[derive(Debug)]
pub(super) struct Cors {
    pub(super) origins: Vec<Origin>,
    pub(super) routes: Arc<RouteTable>,
}

/// Responds to preflight requests, which browsers send without a key before a request of a page.
pub(super) async fn preflight<E: Endpoint>(
    endpoint: Arc<E>,
    request: Request,
    cors: Arc<Cors>,
) -> poem::Result<Response> {
    let headers = request.headers();
    let is_preflight = request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight || cors.allowed_origin(headers.get(ORIGIN)).is_none() {
        return endpoint.call(request).await.map(IntoResponse::into_response);
    }
    let response = Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(ACCESS_CONTROL_ALLOW_METHODS, cors.routes.methods(request.uri().path()))
        .header(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS)
        .header(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    Ok(response.finish())
}

/// Adds the CORS headers to every response, errors included.
pub(super) async fn add_headers<E: Endpoint>(
    endpoint: Arc<E>,
    request: Request,
    cors: Arc<Cors>,
) -> poem::Result<Response> {
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = endpoint.get_response(request).await;
    cors.add_headers(origin.as_ref(), response.headers_mut());
    Ok(response)
}

impl Cors {
    fn add_headers(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        // A cache must not give the response for one origin to another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(allowed) = self.allowed_origin(origin) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
        }
    }

    /// Returns the value of `Access-Control-Allow-Origin` for a request of `origin`, if its pages may read the response.
    fn allowed_origin(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let is_listed = |value: &HeaderValue| self.origins.iter().any(|origin| origin.0 == *value);
        let all = HeaderValue::from_static("*");
        if is_listed(&all) { Some(all) } else { origin.filter(|origin| is_listed(origin)).cloned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_normalised_and_other_texts_are_refused() {
        let parse = |text: &str| text.parse::<Origin>().map(|origin| origin.0.to_str().unwrap().to_string());
        for same in ["*", "https://app.example", "http://localhost:3000", "http://[::1]:8080", "capacitor://localhost"]
        {
            assert_eq!(parse(same).as_deref(), Ok(same));
        }
        assert_eq!(parse("HTTPS://App.Example:443").as_deref(), Ok("https://app.example"));
        assert_eq!(parse("http://app.example:80").as_deref(), Ok("http://app.example"));
        assert_eq!(parse("https://app.example:80").as_deref(), Ok("https://app.example:80"));
        for refused in [
            "",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/page",
            "https://*.example",
            "https://me@app.example",
            "https://app.example:",
            "https://app.example:port",
            "https://app.example:99999",
            "://app.example",
            "1://app.example",
            "https://app example",
            "https://bücher.example",
            "https://a,https://b",
        ] {
            assert_eq!(parse(refused), Err(InvalidOrigin), "{refused}");
        }
    }
}
