//! The private ONNX domain `kiln`, in which a fused network is handed to burn-onnx: the file, and what is generated from it.
//!
//! | step | where |
//! |---|---|
//! | layers -> an ONNX file of the domain | `write.rs`, `protobuf.rs` |
//! | what burn-onnx shall generate for its nodes | `hooks.rs` |

pub mod hooks;
mod protobuf;
mod write;

pub use write::write;
