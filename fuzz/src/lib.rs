//! Entry points for the fuzz targets: the code that parses untrusted input. Burn's backends are not part of it, so it
//! builds in minutes.
//!
//! The decoder, the inference protocol and the reader of ONNX files are crates of their own. The API's body readers are compiled from its source files,
//! because the API depends on the inference engine.
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports, reason = "the callers of these files are not part of this crate")]

// The API's files name the classifier.
extern crate self as kiln_classifier;

#[path = "../../crates/api/src/body_limit.rs"]
mod body_limit;
#[path = "../../crates/api/src/open_inference/content_encoding.rs"]
mod content_encoding;
#[path = "../../crates/api/src/error.rs"]
mod error;
#[path = "../../crates/api/src/image_form.rs"]
mod image_form;
#[path = "../../crates/api/src/upload.rs"]
mod upload;

use bytes::Bytes;
use futures_util::stream;
use poem::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use poem::http::{HeaderValue, Method};
use poem::{Body, Request};
use poem_openapi::{ApiExtractor, ExtractParamOptions};

use body_limit::{BodyBudget, BodyLimit};
use content_encoding::ContentEncoding;
use upload::{MultiImageForm, SingleImageForm};

pub use kiln_graph as graph;
pub use kiln_image as image;
pub use kiln_image::EncodedImage;
pub use kiln_oip as oip;

/// An incoming form.
#[derive(Clone, Debug)]
pub struct Form {
    /// The `Content-Type` header.
    pub content_type: HeaderValue,
    /// The body, in the pieces in which it arrives.
    pub pieces: Vec<Bytes>,
    /// Whether the request declares the length of the body.
    pub has_content_length: bool,
    /// Whether the form may have several images, as for `/predict/batch`, or one, as for `/predict`.
    pub is_batch: bool,
}

/// The maximum number of images in a form. It is small, so that some forms have more.
const MAX_FILES: usize = 8;

/// The HTTP status of a refused form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u16);

/// Returns the images of a form. As in the server, the body limit applies first and then the operation's extractor.
pub fn form_images(form: Form, max_bytes: usize) -> Result<Vec<EncodedImage>, Refusal> {
    let mut request = Request::builder().method(Method::POST).header(CONTENT_TYPE, form.content_type).finish();
    if form.has_content_length {
        let length: usize = form.pieces.iter().map(Bytes::len).sum();
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
    } else {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    request.set_body(Body::from_bytes_stream(stream::iter(form.pieces.into_iter().map(Ok::<_, std::io::Error>))));
    request.set_data(BodyLimit::new(max_bytes, &BodyBudget::new(2 * max_bytes)));
    let (request, mut body) = request.split();
    let extracted = block_on(async {
        let options = ExtractParamOptions::default();
        if form.is_batch {
            let form = MultiImageForm::from_request(&request, &mut body, options).await?;
            Ok(form.read(MAX_FILES).await?)
        } else {
            let form = SingleImageForm::from_request(&request, &mut body, options).await?;
            Ok(vec![form.read().await?])
        }
    });
    extracted.map_err(|error: poem::Error| Refusal(error.status().as_u16()))
}

/// Returns the body as the server reads it under that `Content-Encoding`; `None` if it is refused.
pub fn inflate(content_encoding: &HeaderValue, body: Bytes, max_bytes: usize) -> Option<Bytes> {
    match ContentEncoding::of_body([content_encoding]).ok()? {
        Some(encoding) => encoding.inflate(&body, max_bytes).ok(),
        None => Some(body),
    }
}

/// Compresses a response for that `Accept-Encoding` and inflates it again; `None` if it is not compressed.
pub fn deflate_and_inflate(accept_encoding: &HeaderValue, body: &[u8]) -> Option<Bytes> {
    let encoding = ContentEncoding::negotiate(accept_encoding.to_str().ok())?;
    let deflated = encoding.deflate(body)?;
    Some(encoding.inflate(&deflated, body.len()).expect("a deflated body inflates"))
}

/// Runs work that waits for nothing but itself.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers starts");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}
