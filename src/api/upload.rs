//! Pictures as they arrive: a field of a form, several of them, or the whole body. All stay in memory.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use poem::error::ReadBodyError;
use poem::http::header::CONTENT_LENGTH;
use poem::web::Field;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromMultipartField, ParseResult, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, Multipart};

use crate::classifier::Picture;

/// A form with one picture.
#[derive(Debug, Multipart)]
pub(super) struct OneFile {
    /// The picture: PNG, JPEG or GIF, and what else the operator accepts.
    pub(super) file: PictureField,
}

/// A form with several pictures.
#[derive(Debug, Multipart)]
pub(super) struct SeveralFiles {
    /// The pictures, one part each.
    pub(super) files: PictureFields,
}

/// A file of a form, with its name.
#[derive(Debug)]
pub(super) struct PictureField(pub(super) Picture);

/// The files of one field, in the order in which they were sent.
#[derive(Debug)]
pub(super) struct PictureFields(pub(super) Vec<Picture>);

/// The whole body, whatever its content type says.
#[derive(Debug)]
pub(super) struct RawPicture(pub(super) Picture);

async fn read(field: Field) -> Result<Picture, poem::error::ParseMultipartError> {
    let file_name = field.file_name().map(ToString::to_string);
    Ok(Picture { bytes: field.bytes().await?.into(), file_name })
}

/// Bytes, in the document.
pub(super) fn binary() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema { format: Some("binary"), ..MetaSchema::new("string") }))
}

/// A picture that a request has to have, in the document.
fn picture() -> MetaSchemaRef {
    let bytes = MetaSchema { format: Some("binary"), min_length: Some(1), ..MetaSchema::new("string") };
    MetaSchemaRef::Inline(Box::new(bytes))
}

impl Type for PictureField {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "picture".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        picture()
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self::RawElementValueType> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl ParseFromMultipartField for PictureField {
    async fn parse_from_multipart(field: Option<Field>) -> ParseResult<Self> {
        let field = field.ok_or_else(ParseError::expected_input)?;
        read(field).await.map(Self).map_err(ParseError::custom)
    }
}

impl Type for PictureFields {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "pictures".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        // Even an empty one is answered in its place.
        let list = MetaSchema { items: Some(Box::new(binary())), min_items: Some(1), ..MetaSchema::new("array") };
        MetaSchemaRef::Inline(Box::new(list))
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self::RawElementValueType> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl ParseFromMultipartField for PictureFields {
    async fn parse_from_multipart(field: Option<Field>) -> ParseResult<Self> {
        let field = field.ok_or_else(ParseError::expected_input)?;
        read(field).await.map(|picture| Self(vec![picture])).map_err(ParseError::custom)
    }

    async fn parse_from_repeated_field(mut self, field: Field) -> ParseResult<Self> {
        self.0.push(read(field).await.map_err(ParseError::custom)?);
        Ok(self)
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
        let content = RAW_TYPES.map(|content_type| MetaMediaType { content_type, schema: picture() });
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
    let announced = request.header(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut pieces = body.take()?.into_bytes_stream();
    // Copied together as they come: kept apart, tiny pieces take many times their size. Room is made for what a client
    // announces, but for no more than it costs him little to send.
    let mut bytes = BytesMut::with_capacity(announced.min(MOST_ROOM));
    while let Some(piece) = pieces.try_next().await.map_err(ReadBodyError::Io)? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}
