//! How an engine is to run: plain data.

use std::path::PathBuf;

use super::choice::{KernelChoice, ResizeChoice};
use super::precision::Precision;

/// How an engine is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most pictures in a batch.
    pub max_batch_size: usize,
    /// What tensors hold.
    pub precision: Precision,
    /// Who computes.
    pub kernels: KernelChoice,
    /// Who resizes pictures.
    pub resize: ResizeChoice,
    /// The largest part of a picture that is kept for the device to resize.
    pub max_cutout_bytes: usize,
    /// Where a choice of kernels is kept.
    pub cache: Option<PathBuf>,
}

impl Options {
    /// As the model has it, by the quickest kernels, with nothing kept.
    pub fn new(max_batch_size: usize) -> Self {
        Self {
            max_batch_size,
            precision: Precision::F32,
            kernels: KernelChoice::Auto,
            resize: ResizeChoice::Auto,
            max_cutout_bytes: 1 << 20,
            cache: None,
        }
    }
}
