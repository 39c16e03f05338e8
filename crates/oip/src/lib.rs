//! Messages of the Open Inference Protocol v2 (REST): parses requests and encodes responses.
//!
//! This crate knows neither HTTP nor models. It knows only the names, shapes and datatypes of a model's tensors.
//!
//! Sources: `inference_rest.md` of the protocol; `extension_binary_data.md` and `extension_classification.md` of Triton.
#![forbid(unsafe_code)]
// The sizes in a request are the client's. Tests cast values that they know.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

mod request;
mod request_json;
mod response;
mod tensor;

pub use request::{InferRequest, RequestedOutput, parse_request};
pub use response::{EncodedResponse, NonFiniteOutput, classification_element, encode_response};
pub use tensor::{Tensor, TensorData};

/// Name of the model's only input.
pub const INPUT: &str = "input";
/// Name of the model's only output.
pub const OUTPUT: &str = "logits";

/// Reports a request that violates the protocol. The message is written for the author of the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedRequest(String);

impl MalformedRequest {
    /// Creates the error. The message may quote the client's input, so it is truncated to 300 bytes.
    fn new(message: impl AsRef<str>) -> Self {
        Self(truncated(message.as_ref(), 300).to_string())
    }
}

/// Returns the longest prefix of `text` that has at most `max_bytes` bytes.
fn truncated(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}
