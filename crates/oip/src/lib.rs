//! The Open Inference Protocol v2 (REST) as bytes: requests read, answers written. It knows neither HTTP nor models, only
//! what the model's tensors are called and how they are shaped.
//!
//! Sources: the protocol's `inference_rest.md`, and Triton's `extension_binary_data.md` and `extension_classification.md`.
//!
//! | file | responsibility |
//! |---|---|
//! | `header.rs` | the JSON of a request |
//! | `few.rs` | its lists, which are short |
//! | `request.rs` | that JSON and the binary tensors behind it, checked and joined |
//! | `tensor.rs` | datatypes and values |
//! | `response.rs` | the answer's JSON and its binary tensors |
#![forbid(unsafe_code)]

mod few;
mod header;
mod request;
mod response;
mod tensor;

pub use request::{Infer, Input, RequestedOutput, parse};
pub use response::{NotFinite, Output, Rendered, classification, render};
pub use tensor::Values;

/// What the model's input is called in the protocol.
pub const INPUT: &str = "input";
/// What its output is called.
pub const OUTPUT: &str = "logits";

/// A request that is not what the protocol asks for. The text is a sentence for the one who wrote the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    /// What a client has written may be in the sentence, and need not come back to it whole.
    fn new(sentence: impl Into<String>) -> Self {
        let mut sentence = sentence.into();
        sentence.truncate(sentence.floor_char_boundary(300));
        Self(sentence)
    }
}

/// The part of a client's text that a sentence can bear.
fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(40)]
}
