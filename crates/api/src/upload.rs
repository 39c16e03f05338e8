//! Extractors of uploaded images: one or several fields of a form, or the whole body. Uploads stay in memory.

use poem::web::Multipart;
use poem::{Body, FromRequest, Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::body_limit::read_body;
use super::error::ApiError;
use kiln_classifier::EncodedImage;

/// Parts of a form that are not images are skipped, up to these totals. A browser may send a few; thousands are abuse.
const MAX_OTHER_PARTS: usize = 100;
const MAX_OTHER_BYTES: usize = 64 << 10;

/// A form with one image in the field `file`.
#[derive(Debug)]
pub(super) struct SingleImageForm(pub(super) EncodedImage);

/// A form with images in the fields `files`, in the order of the form.
#[derive(Debug)]
pub(super) struct MultiImageForm(pub(super) Vec<EncodedImage>);

/// A body that is one image, whatever its content type.
#[derive(Debug)]
pub(super) struct RawImage(pub(super) EncodedImage);

impl<'a> ApiExtractor<'a> for SingleImageForm {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        form_meta("file", "The image: PNG, JPEG or GIF, or another format that the server accepts.", image_schema())
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        Ok(Self(read_form(request, body, "file", 1).await?.remove(0)))
    }
}

impl<'a> ApiExtractor<'a> for MultiImageForm {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        // An empty file is allowed here: it has an error of its own among the results.
        let items = Some(Box::new(binary_schema()));
        form_meta(
            "files",
            "The images, one part each.",
            MetaSchema { items, min_items: Some(1), ..MetaSchema::new("array") },
        )
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        // The handler checks the number of files, because the limit is in its configuration.
        read_form(request, body, "files", usize::MAX).await.map(Self)
    }
}

/// The content types in the OpenAPI document. The magic bytes decide the format, so any other type is accepted, too.
const RAW_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "application/octet-stream"];

impl<'a> ApiExtractor<'a> for RawImage {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let content = RAW_TYPES.map(|content_type| MetaMediaType {
            content_type,
            schema: MetaSchemaRef::Inline(Box::new(image_schema())),
        });
        let description = "The bytes of one image. Any content type, or none, is accepted: the magic bytes decide.";
        Some(MetaRequest { description: Some(description), content: content.into(), required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        Ok(Self(EncodedImage { bytes: read_body(request, body).await?, file_name: None }))
    }
}

/// Returns the schema of binary data.
pub(super) fn binary_schema() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema { format: Some("binary"), ..MetaSchema::new("string") }))
}

/// Returns the schema of an image, which is not empty.
fn image_schema() -> MetaSchema {
    MetaSchema { format: Some("binary"), min_length: Some(1), ..MetaSchema::new("string") }
}

/// Describes a form with one required field.
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

/// Returns the images in the form fields called `name`: at least one, at most `max`.
async fn read_form(request: &Request, body: &mut RequestBody, name: &str, max: usize) -> Result<Vec<EncodedImage>> {
    // Checks the content type before the body is read.
    form_parser(request, Body::empty()).await?;
    // The parser searches everything that it holds of a header or of the preamble whenever a piece arrives, so tiny pieces would
    // keep it busy for minutes. It gets the complete body instead and parses it in one go. Parsing does not yield, so at most one
    // body per thread is held twice.
    let bytes = read_body(request, body).await?;
    let mut form = form_parser(request, Body::from_bytes(bytes)).await?;
    let (mut images, mut other_parts, mut other_bytes) = (Vec::new(), 0, 0);
    while let Some(field) = form.next_field().await? {
        if field.name() == Some(name) {
            if images.len() == max {
                return Err(ApiError::malformed(format!("the form has more than {max} field '{name}'")).into());
            }
            let file_name = field.file_name().map(ToString::to_string);
            images.push(EncodedImage { bytes: field.bytes().await?.into(), file_name });
            continue;
        }
        other_parts += 1;
        other_bytes += field.bytes().await?.len();
        if other_parts > MAX_OTHER_PARTS || other_bytes > MAX_OTHER_BYTES {
            return Err(ApiError::malformed(format!(
                "the form has too many or too large parts besides '{name}'; the maximum is {MAX_OTHER_PARTS} parts and \
                 {MAX_OTHER_BYTES} bytes in total"
            ))
            .into());
        }
    }
    if images.is_empty() {
        return Err(ApiError::malformed(format!("the form has no field '{name}'")).into());
    }
    Ok(images)
}

/// Returns a parser of `body`. It fails if the content type of the request is not that of a form.
async fn form_parser(request: &Request, body: Body) -> Result<Multipart> {
    <Multipart as FromRequest>::from_request(request, &mut RequestBody::new(body)).await
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use futures_util::{StreamExt, stream};

    use super::super::body_limit::{BodyBudget, BodyLimit};
    use super::*;

    /// Reads a form whose pieces arrive one by one, each after the reader has seen the one before.
    async fn read_in_pieces(piece: &'static [u8], count: usize) -> Result<Vec<EncodedImage>> {
        let pieces = stream::iter(0..count).then(move |_| async move {
            tokio::task::yield_now().await;
            Ok::<_, io::Error>(Bytes::from_static(piece))
        });
        let mut request = Request::builder()
            .header("Content-Type", "multipart/form-data; boundary=end")
            .header("Transfer-Encoding", "chunked")
            .finish();
        request.set_data(BodyLimit::new(usize::MAX, &BodyBudget::new(usize::MAX)));
        read_form(&request, &mut RequestBody::new(Body::from_bytes_stream(pieces)), "file", 1).await
    }

    /// A parser that searches all earlier bytes again for each piece would take minutes.
    #[tokio::test]
    async fn form_in_tiny_pieces_is_parsed_in_linear_time() {
        let started = Instant::now();
        assert_eq!(read_in_pieces(&[b'x'; 40], 200_000).await.unwrap_err().status(), 400);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn too_many_other_parts_are_refused() {
        let part = b"--end\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n";
        for count in [MAX_OTHER_PARTS, MAX_OTHER_PARTS + 2] {
            // The form and its last part have no end, which is an error of its own.
            let error = read_in_pieces(part, count).await.unwrap_err().to_string();
            assert_eq!(error.contains("too many or too large parts"), count > MAX_OTHER_PARTS, "{error}");
        }
    }
}
