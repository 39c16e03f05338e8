//! Extractors of uploaded images: a form, or the whole body. A handler reads the upload when it has checked everything else.
//! Uploads stay in memory.

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::body_limit::UnreadBody;
use super::error::{ApiError, ErrorCode};
use super::image_form::UnreadForm;
use kiln_classifier::EncodedImage;

/// A form with one image in the field `file`.
#[derive(Debug)]
pub(super) struct SingleImageForm(UnreadForm);

/// A form with images in the fields `files`.
#[derive(Debug)]
pub(super) struct MultiImageForm(UnreadForm);

/// A body that is one image, whatever its content type.
#[derive(Debug)]
pub(super) struct RawImage(UnreadBody);

impl SingleImageForm {
    /// Reads the form.
    ///
    /// # Errors
    ///
    /// The body cannot be read, or the form does not parse or has another number of images.
    pub(super) async fn read(self) -> Result<EncodedImage, ApiError> {
        let too_many = ApiError::malformed("the form has more than one field 'file'");
        Ok(self.0.read("file", 1, too_many).await?.remove(0))
    }
}

impl MultiImageForm {
    /// Reads the form and returns its images, in the order of the form: at least one, and at most `max_files`.
    ///
    /// # Errors
    ///
    /// The body cannot be read, or the form does not parse, or has no or too many images.
    pub(super) async fn read(self, max_files: usize) -> Result<Vec<EncodedImage>, ApiError> {
        let message = format!("the request has more than {max_files} files");
        self.0.read("files", max_files, ApiError::new(ErrorCode::TooManyFiles, message)).await
    }
}

impl RawImage {
    /// Reads the body.
    ///
    /// # Errors
    ///
    /// See [`UnreadBody::read`].
    pub(super) async fn read(self) -> Result<EncodedImage, ApiError> {
        Ok(EncodedImage { bytes: self.0.read().await?, file_name: None })
    }
}

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
        Ok(Self(UnreadForm::take(request, body)?))
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
        Ok(Self(UnreadForm::take(request, body)?))
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
        Ok(Self(UnreadBody::take(request, body)?))
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
