//! Reads ONNX image classifiers and rewrites them as networks of few large layers.
//!
//! ```text
//! model.toml ─ read_model ──► Model     name, labels, preprocessing; the digest of the ONNX file is verified
//! model.onnx ─ OnnxFile ────► message   operators, operator set, implausible values
//!              Graph ───────► nodes     typed and with shapes; checked to be a classifier
//!              lower ───────► Network   layers in NHWC with their weights
//!              run_passes ──► Network   few large layers, and one PassReport for each pass
//! ```
//!
//! [`fuse`] does the last two steps and accepts a network only if nothing is left unfused.
//!
//! ```
//! use std::path::Path;
//! use kiln_graph::{Graph, OnnxFile, fuse};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = Path::new("../tests/models/small-resnet/small-resnet.onnx");
//! let file = OnnxFile::parse(&std::fs::read(path)?)?;
//! let graph = Graph::read("small-resnet", path, &file)?;
//! graph.check_classifier([61, 45], 10)?;
//! let network = fuse(&graph, [61, 45])?;
//! assert_eq!(network.classes, 10);
//! assert!(network.layers.len() < graph.node_count());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod classifier;
mod classifier_error;
mod digest;
mod error;
mod functions;
#[cfg(feature = "import")]
mod graph;
mod host;
#[cfg(feature = "import")]
mod lower;
mod lowering;
mod manifest;
mod message_text;
mod needed_nodes;
mod network;
mod network_editor;
#[cfg(feature = "import")]
mod node_parameters;
mod onnx;
#[cfg(feature = "import")]
mod onnx_file;
mod passes;
mod preprocess;
mod report;
mod tensor_op;
mod unknown_operators;

pub use classifier::{Classifier, InputInfo, OutputInfo, OutputKind, ReadOptions, Takes};
pub use classifier_error::{ClassifierError, Obstacle};
pub use digest::{sha256_hex, sha256_of};
pub use error::ModelError;
#[cfg(feature = "import")]
pub use graph::{Graph, TensorShape};
pub use host::Array;
#[cfg(feature = "import")]
pub use lower::lower;
pub use manifest::{
    Input, Manifest, Model, check_name, check_version, is_hidden, module_name, read_model, read_models,
};
pub use message_text::shorten;
pub use network::{Conv, Layer, LayerKind, Network, Value};
pub use onnx::{OnnxSource, ReadError};
#[cfg(feature = "import")]
pub use onnx_file::{ExternalWeights, OnnxFile};
#[cfg(feature = "import")]
pub use passes::fuse;
pub use passes::{first_unfused, run_passes};
pub use preprocess::{Crop, Filter, InvalidValue, Preprocess};
pub use report::{PassReport, Reason, SkippedLayer, Unfusable};
pub use tensor_op::{ConvTranspose, Dim, TensorOp};
