//! Compares preprocessing with Pillow, logits with ONNX Runtime, and resizing on the device with resizing on the CPU.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod conformance_files;
mod device_resize;
mod format_conformance;
mod image_golden;
mod jpeg_conformance;
mod onnx_runtime_parity;
