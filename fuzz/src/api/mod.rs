//! Those files of the API's that read bodies, and a way in for the targets.

#[path = "../../../crates/api/src/body_limit.rs"]
mod body_limit;
#[path = "../../../crates/api/src/error.rs"]
mod error;
mod failure;
pub mod protocol;
#[path = "../../../crates/api/src/upload/mod.rs"]
mod upload;

use bytes::Bytes;
use futures_util::stream;
use poem::error::ResponseError;
use poem::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use poem::http::{HeaderValue, Method};
use poem::{Body, Request};
use poem_openapi::{ApiExtractor, ExtractParamOptions};

pub use crate::Picture;
use body_limit::Budget;
use upload::{OneFile, SeveralFiles};

/// A form on its way in.
#[derive(Clone, Debug)]
pub struct Form {
    /// The header.
    pub content_type: HeaderValue,
    /// The body, in the pieces in which it arrives.
    pub pieces: Vec<Bytes>,
    /// Whether its length was announced.
    pub announced: bool,
    /// Whether several pictures are asked for, as at `/predict/batch`, and not one, as at `/predict`.
    pub several: bool,
}

/// Why there are no pictures: an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u16);

/// The pictures of a form, the way a request goes: the bound on the body first, and then the operation's extractor.
pub fn pictures(form: Form, max_bytes: usize) -> Result<Vec<Picture>, Refusal> {
    let mut request = Request::builder().method(Method::POST).header(CONTENT_TYPE, form.content_type).finish();
    if form.announced {
        let length: usize = form.pieces.iter().map(Bytes::len).sum();
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
    } else {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    request.set_body(Body::from_bytes_stream(stream::iter(form.pieces.into_iter().map(Ok::<_, std::io::Error>))));
    let limit = body_limit::apply(&mut request, max_bytes, &Budget::new(2 * max_bytes));
    let (request, mut body) = request.split();
    let extracted = now(async {
        let options = ExtractParamOptions::default();
        if form.several {
            SeveralFiles::from_request(&request, &mut body, options).await.map(|form| form.0)
        } else {
            OneFile::from_request(&request, &mut body, options).await.map(|form| vec![form.0])
        }
    });
    extracted.map_err(|error| {
        let status = limit.failure().map_or_else(|| error.status(), |failure| failure.status());
        Refusal(status.as_u16())
    })
}

/// What waits for nothing but memory is done when it is first looked at, or once it has woken itself.
fn now<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime without a driver needs nothing");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}
