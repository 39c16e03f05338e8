//! The body of an inference request and of its response: JSON, or JSON followed by binary tensors, compressed or not.

use bytes::Bytes;
use poem::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use poem::{IntoResponse, Request, RequestBody, Response, Result};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaRequest, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};

use super::content_encoding::ContentEncoding;
use super::schema::{InferRequestSchema, InferResponseSchema};
use crate::body_limit::{BodyLimit, UnreadBody};
use crate::error::ApiError;
use crate::upload::binary_schema;
use kiln_oip::EncodedResponse;

/// The header with the length of the JSON, in requests and responses.
const HEADER_LENGTH: &str = "Inference-Header-Content-Length";

/// The body of a request, before it is read, and the encoding that its response may have.
#[derive(Debug)]
pub(super) struct InferBody {
    body: UnreadBody,
    encoding: Option<ContentEncoding>,
    pub(super) accepted: Option<ContentEncoding>,
}

/// The bytes of a request, compressed or not.
#[derive(Debug)]
pub(super) struct ReceivedBody {
    bytes: Bytes,
    encoding: Option<ContentEncoding>,
}

impl InferBody {
    /// Reads the body.
    ///
    /// # Errors
    ///
    /// See [`UnreadBody::read`].
    pub(super) async fn read(self) -> Result<ReceivedBody, ApiError> {
        Ok(ReceivedBody { bytes: self.body.read().await?, encoding: self.encoding })
    }
}

impl ReceivedBody {
    /// Returns the bytes, inflated if necessary. The inflated bytes count in the body budget.
    pub(super) fn inflate(self, limit: &BodyLimit) -> Result<Bytes, ApiError> {
        let Some(encoding) = self.encoding else { return Ok(self.bytes) };
        let inflated = encoding.inflate(&self.bytes, limit.max_bytes())?;
        // The compressed bytes are counted already and are dropped here.
        limit.reserve_inflated(inflated.len().saturating_sub(self.bytes.len()))?;
        Ok(inflated)
    }
}

impl<'a> ApiExtractor<'a> for InferBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        InferRequestSchema::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let description = "JSON, optionally followed by binary tensors; or one image, with `Inference-Header-Content-Length: 0`. \
                           `Content-Encoding` may be gzip or deflate.";
        Some(MetaRequest {
            description: Some(description),
            content: json_or_binary::<InferRequestSchema>(),
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let encoding = ContentEncoding::of_body(request.headers().get_all(CONTENT_ENCODING))?;
        // The handler's parameter sees only the first of several headers, and ignores a header that is not a text.
        let mut lengths = request.headers().get_all(HEADER_LENGTH).iter();
        if lengths.next().is_some_and(|length| length.to_str().is_err()) || lengths.next().is_some() {
            return Err(ApiError::malformed(format!("{HEADER_LENGTH} must be one number")).into());
        }
        let accepted = ContentEncoding::negotiate(request.header(ACCEPT_ENCODING));
        Ok(Self { body: UnreadBody::take(request, body)?, encoding, accepted })
    }
}

/// The response to an inference request.
#[derive(Debug)]
pub(super) struct InferResponse {
    encoded: EncodedResponse,
    encoding: Option<ContentEncoding>,
}

impl InferResponse {
    /// Creates the response, compressed with the accepted encoding unless it is short.
    pub(super) fn new(mut encoded: EncodedResponse, accepted: Option<ContentEncoding>) -> Self {
        let compressed = accepted.and_then(|encoding| Some((encoding, encoding.deflate(&encoded.body)?)));
        let encoding = compressed.map(|(encoding, body)| {
            encoded.body = body;
            encoding
        });
        Self { encoded, encoding }
    }
}

impl IntoResponse for InferResponse {
    fn into_response(self) -> Response {
        let is_binary = self.encoded.header_length.is_some();
        let mut response = Response::builder().body(self.encoded.body);
        let headers = response.headers_mut();
        let content_type = if is_binary { "application/octet-stream" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Some(length) = self.encoded.header_length {
            headers.insert(HEADER_LENGTH, HeaderValue::from(length));
        }
        if let Some(encoding) = self.encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
        }
        response
    }
}

impl ApiResponse for InferResponse {
    fn meta() -> MetaResponses {
        let length = MetaHeader {
            name: HEADER_LENGTH.to_string(),
            description: Some("Length of the JSON, if a binary tensor follows it.".to_string()),
            required: false,
            deprecated: false,
            schema: u64::schema_ref(),
        };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The scores, or the requested classes",
                status: Some(200),
                status_range: None,
                content: json_or_binary::<InferResponseSchema>(),
                headers: vec![length],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        InferResponseSchema::register(registry);
    }
}

/// Returns the media types of a body: JSON with the schema `T`, or such JSON followed by binary tensors.
fn json_or_binary<T: Type>() -> Vec<MetaMediaType> {
    vec![
        MetaMediaType { content_type: "application/json", schema: T::schema_ref() },
        MetaMediaType { content_type: "application/octet-stream", schema: binary_schema() },
    ]
}
