//! How bodies of the Open Inference Protocol are compressed, and a way in for the target.

#[path = "../../../crates/api/src/protocol/encoding.rs"]
mod encoding;

use bytes::Bytes;
use poem::http::HeaderValue;

use encoding::Encoding;

/// The body as it is read, where it arrived under that `Content-Encoding`; nothing where it is refused.
pub fn inflated(header: &HeaderValue, body: Bytes, max_bytes: usize) -> Option<Bytes> {
    match Encoding::of_body([header]).ok()? {
        Some(encoding) => encoding.inflate(&body, max_bytes).ok(),
        None => Some(body),
    }
}

/// What a client that sends that `Accept-Encoding` makes of an answer, if it is compressed.
pub fn there_and_back(header: &HeaderValue, body: &[u8]) -> Option<Bytes> {
    let encoding = Encoding::accepted(header.to_str().ok())?;
    let deflated = encoding.deflate(body)?;
    Some(encoding.inflate(&deflated, body.len()).expect("what was deflated can be inflated"))
}
