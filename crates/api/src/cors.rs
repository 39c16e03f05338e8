//! Which pages of other origins may read the answers (CORS). Without a configured origin none may, as browsers have it.
//!
//! poem's own middleware does not fit: it refuses whoever has another origin, even where the page is the server's own, and
//! it replaces `Vary`.

use std::str::FromStr;
use std::sync::Arc;

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN, VARY,
};
use poem::http::uri::Authority;
use poem::http::{HeaderValue, Method, StatusCode};
use poem::{Endpoint, IntoResponse, Request, Response};

use super::allow::AllowTable;

/// What a page may send besides what every page may.
const REQUEST_HEADERS: &str = "X-API-Key, Authorization, Content-Type, Content-Encoding, Cache-Control, X-Request-Id, \
                               X-Request-Timeout-Ms, Inference-Header-Content-Length";
/// What a page may read besides what every page may.
const ANSWER_HEADERS: &str = "X-Request-Id, Retry-After, Server-Timing, Cache-Status, Inference-Header-Content-Length";
/// How many seconds a browser may remember all that: the most that Chromium does.
const REMEMBERED: &str = "7200";

/// An origin whose pages may call, or `*`, which is all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// A text that is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is a scheme and a host, perhaps with a port, and nothing behind them; or it is *")]
pub struct NotAnOrigin;

impl FromStr for Origin {
    type Err = NotAnOrigin;

    /// Reads an origin as browsers send it, which leave out a scheme's usual port and have the rest in small letters.
    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        if text == "*" {
            return Ok(Self(HeaderValue::from_static("*")));
        }
        let text = text.to_ascii_lowercase();
        let (scheme, rest) = text.split_once("://").ok_or(NotAnOrigin)?;
        let place: Authority = rest.parse().map_err(|_| NotAnOrigin)?;
        let (host, port) = (place.host(), place.port_u16());
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let whole = port.map_or(host.to_string(), |port| format!("{host}:{port}"));
        // A user's name, an empty port and the like are lost on the way to host and port.
        if !is_scheme || host.is_empty() || host.contains('*') || whole != rest {
            return Err(NotAnOrigin);
        }
        let usual = matches!((scheme, port), ("http", Some(80)) | ("https", Some(443)));
        let origin = format!("{scheme}://{}", if usual { host } else { rest });
        HeaderValue::try_from(origin).map(Self).map_err(|_| NotAnOrigin)
    }
}

/// Who may, and which methods each address takes.
#[derive(Debug)]
pub(super) struct Cors {
    pub(super) origins: Vec<Origin>,
    pub(super) allow: Arc<AllowTable>,
}

/// Answers what a browser asks before it sends a page's request. It asks without a key.
pub(super) async fn preflight<E: Endpoint>(
    endpoint: Arc<E>,
    request: Request,
    cors: Arc<Cors>,
) -> poem::Result<Response> {
    let headers = request.headers();
    let asks = request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !asks || cors.readers(headers.get(ORIGIN)).is_none() {
        return endpoint.call(request).await.map(IntoResponse::into_response);
    }
    let answer = Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(ACCESS_CONTROL_ALLOW_METHODS, cors.allow.methods(request.uri().path()))
        .header(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS)
        .header(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    Ok(answer.finish())
}

/// Says of every answer, errors too, who may read it.
pub(super) async fn mark<E: Endpoint>(endpoint: Arc<E>, request: Request, cors: Arc<Cors>) -> poem::Result<Response> {
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = endpoint.get_response(request).await;
    cors.mark(origin.as_ref(), response.headers_mut());
    Ok(response)
}

impl Cors {
    fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        // A cache must not give one origin's answer to another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(readers) = self.readers(origin) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, readers);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
        }
    }

    /// Whose pages may read the answer to a request of a page of `origin`.
    fn readers(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let listed = |readers: &HeaderValue| self.origins.iter().any(|origin| origin.0 == *readers);
        let all = HeaderValue::from_static("*");
        if listed(&all) { Some(all) } else { origin.filter(|origin| listed(origin)).cloned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send_and_nothing_else() {
        let read = |text: &str| text.parse::<Origin>().map(|origin| origin.0.to_str().unwrap().to_string());
        for same in ["*", "https://app.example", "http://localhost:3000", "http://[::1]:8080", "capacitor://localhost"]
        {
            assert_eq!(read(same).as_deref(), Ok(same));
        }
        assert_eq!(read("HTTPS://App.Example:443").as_deref(), Ok("https://app.example"));
        assert_eq!(read("http://app.example:80").as_deref(), Ok("http://app.example"));
        assert_eq!(read("https://app.example:80").as_deref(), Ok("https://app.example:80"));
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
            assert_eq!(read(refused), Err(NotAnOrigin), "{refused}");
        }
    }
}
