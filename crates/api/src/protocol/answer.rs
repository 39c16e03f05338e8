//! An inference's answer: JSON, or JSON with a binary tensor behind it, compressed if the client takes that.

use poem::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::encoding::Encoding;
use super::schema::{InferAnswer, json_or_binary};
use kiln_oip::Rendered;

/// The header that tells where the JSON ends, in both directions.
pub(super) const HEADER_LENGTH: &str = "Inference-Header-Content-Length";

/// An answer's bytes on their way.
#[derive(Debug)]
pub(super) struct Answer {
    rendered: Rendered,
    encoding: Option<Encoding>,
}

impl Answer {
    /// Compresses where `accepted` says so and it pays.
    pub(super) fn new(mut rendered: Rendered, accepted: Option<Encoding>) -> Self {
        let small = accepted.and_then(|encoding| Some((encoding, encoding.deflate(&rendered.body)?)));
        let encoding = small.map(|(encoding, body)| {
            rendered.body = body;
            encoding
        });
        Self { rendered, encoding }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let binary = self.rendered.header_length.is_some();
        let mut response = Response::builder().body(self.rendered.body);
        let headers = response.headers_mut();
        let content_type = if binary { "application/octet-stream" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Some(length) = self.rendered.header_length {
            headers.insert(HEADER_LENGTH, HeaderValue::from(length));
        }
        if let Some(encoding) = self.encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        response
    }
}

impl ApiResponse for Answer {
    fn meta() -> MetaResponses {
        let length = MetaHeader {
            name: HEADER_LENGTH.to_string(),
            description: Some("Where the JSON ends, if a binary tensor is behind it.".to_string()),
            required: false,
            deprecated: false,
            schema: u64::schema_ref(),
        };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The scores, or the classes that were asked for",
                status: Some(200),
                status_range: None,
                content: json_or_binary::<InferAnswer>(),
                headers: vec![length],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        InferAnswer::register(registry);
    }
}
