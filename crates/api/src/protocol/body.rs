//! The body of an inference request: bytes and how they are compressed. In the document it is JSON or binary.

use bytes::Bytes;
use poem::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::answer::HEADER_LENGTH;
use super::encoding::Encoding;
use super::schema::{InferRequest, json_or_binary};
use crate::error::Code;
use crate::failure::Failure;
use crate::upload;

/// A body, and how the answer may be compressed.
#[derive(Debug)]
pub(super) struct InferBody {
    pub(super) bytes: Bytes,
    pub(super) encoding: Option<Encoding>,
    pub(super) accepted: Option<Encoding>,
}

impl<'a> ApiExtractor<'a> for InferBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        InferRequest::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some(
                "JSON, or JSON and the binary tensors behind it, or with `Inference-Header-Content-Length: 0` one picture. \
                 `Content-Encoding` may be gzip or deflate.",
            ),
            content: json_or_binary::<InferRequest>(),
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let encoding = Encoding::of_body(request.headers().get_all(CONTENT_ENCODING))?;
        let mut lengths = request.headers().get_all(HEADER_LENGTH).iter();
        // The parameter is the first, or none where it is no text.
        if lengths.next().is_some_and(|length| length.to_str().is_err()) || lengths.next().is_some() {
            return Err(Failure::new(Code::Malformed, format!("{HEADER_LENGTH} has to be one number")).into());
        }
        let accepted = Encoding::accepted(request.header(ACCEPT_ENCODING));
        Ok(Self { bytes: upload::whole(request, body).await?, encoding, accepted })
    }
}
