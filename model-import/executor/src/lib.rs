//! Runs image classifiers that are read from ONNX files at run time, on the CPU and on GPUs.
//!
//! [`OnnxModel::open`] reads a file with `kiln-graph` and describes its input and output. [`OnnxModel::load`] puts the network on a
//! device: weights are packed for the kernels of `kiln-kernels`, and each value is released after its last reader. Operations
//! without a kernel run on Burn's tensor operations.
//!
//! ```
//! use std::path::Path;
//!
//! use burn::tensor::{Device, Tensor};
//! use kiln_executor::{OnnxModel, ReadOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = Path::new("../tests/models/small-resnet/small-resnet.onnx");
//! let model = OnnxModel::open(path, &ReadOptions::default())?;
//! let device = Device::flex();
//! let network = model.load(&device)?;
//! let [height, width] = [model.input().height, model.input().width];
//! let logits = network.forward(Tensor::zeros([2, height, width, 3], &device));
//! assert_eq!(logits.dims(), [2, model.output().width]);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod cpu_ops;
mod model;
mod profile;
mod program;
mod step;
mod tensor_ops;

pub use kiln_graph::{ClassifierError, InputInfo, OutputInfo, OutputKind, ReadOptions, Takes};
pub use model::{LoadFileError, OnnxModel, OpenError};
pub use profile::StepTime;
