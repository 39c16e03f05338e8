//! Pictures as they arrive: a field of a form, several of them, or the whole body. All stay in memory.

mod form;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use poem::error::ReadBodyError;
use poem::{Body, Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::body_limit::announced;
use kiln_classifier::Picture;

/// A form with one picture, in the field `file`.
#[derive(Debug)]
pub(super) struct OneFile(pub(super) Picture);

/// A form with several pictures, in fields `files`, in the order in which they were sent.
#[derive(Debug)]
pub(super) struct SeveralFiles(pub(super) Vec<Picture>);

/// The whole body, whatever its content type says.
#[derive(Debug)]
pub(super) struct RawPicture(pub(super) Picture);

/// A form with one field, in the document.
fn form_meta(field: &'static str, description: &'static str, schema: MetaSchema) -> Option<MetaRequest> {
    let schema = MetaSchema { description: Some(description), ..schema };
    let form = MetaSchema {
        required: vec![field],
        properties: vec![(field, MetaSchemaRef::Inline(Box::new(schema)))],
        ..MetaSchema::new("object")
    };
    let schema = MetaSchemaRef::Inline(Box::new(form));
    let content = MetaMediaType { content_type: "multipart/form-data", schema };
    Some(MetaRequest { description: None, content: vec![content], required: true })
}

/// Bytes, in the document.
pub(super) fn binary() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(bytes()))
}

/// A picture that a request has to have, in the document.
fn picture() -> MetaSchema {
    MetaSchema { min_length: Some(1), ..bytes() }
}

fn bytes() -> MetaSchema {
    MetaSchema { format: Some("binary"), ..MetaSchema::new("string") }
}

impl<'a> ApiExtractor<'a> for OneFile {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        form_meta("file", "The picture: PNG, JPEG or GIF, and what else the operator accepts.", picture())
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        Ok(Self(form::pictures(request, body, "file", 1).await?.remove(0)))
    }
}

impl<'a> ApiExtractor<'a> for SeveralFiles {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let list = MetaSchema { items: Some(Box::new(binary())), min_items: Some(1), ..MetaSchema::new("array") };
        // Even an empty one is answered in its place.
        form_meta("files", "The pictures, one part each.", list)
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        // How many the operator takes is judged by who knows it.
        form::pictures(request, body, "files", usize::MAX).await.map(Self)
    }
}

/// What an announcement alone gets in memory, in bytes: as much as most photos have.
const MOST_ROOM: usize = 256 << 10;

/// The content types that the document names; the magic bytes decide, so any other is welcome too.
const RAW_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "application/octet-stream"];

impl<'a> ApiExtractor<'a> for RawPicture {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let content = RAW_TYPES
            .map(|content_type| MetaMediaType { content_type, schema: MetaSchemaRef::Inline(Box::new(picture())) });
        Some(MetaRequest {
            description: Some(
                "The bytes of one picture. Any content type, or none, is accepted: the magic bytes decide.",
            ),
            content: content.into(),
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        Ok(Self(Picture { bytes: whole(request, body).await?, file_name: None }))
    }
}

/// All of a body.
pub(super) async fn whole(request: &Request, body: &mut RequestBody) -> Result<Bytes> {
    Ok(gather(announced(request), body.take()?).await.map_err(ReadBodyError::Io)?)
}

async fn gather(announced: Option<usize>, body: Body) -> std::io::Result<Bytes> {
    let mut pieces = body.into_bytes_stream();
    // Copied together as they come: kept apart, tiny pieces take many times their size. Room is made for what a client
    // announces, but for no more than it costs him little to send.
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0).min(MOST_ROOM));
    while let Some(piece) = pieces.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}
