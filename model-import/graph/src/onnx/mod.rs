//! Reads ONNX files: the protobuf message without its large tensors, and each tensor when it is needed.
//!
//! An ONNX file may come from anybody. Nothing here trusts a size before it is checked against the file, follows a path out of
//! the file's folder, or panics on a malformed message.

mod file_format;
mod proto;
mod read_error;
mod reader;
mod structure;
mod tensor;

pub(crate) use file_format::explain_malformed;
pub use proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
pub(crate) use read_error::PUT_BESIDE;
pub use read_error::ReadError;
pub use reader::OnnxSource;
pub use tensor::ElementType;
pub(crate) use tensor::{TensorError, type_name};
