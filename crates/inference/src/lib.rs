//! Runs networks on devices: the `Engine` trait, its implementation on Burn, and device selection.
//!
//! This crate handles images of the model's input size, tensors, and rows of logits. It handles neither HTTP nor queues.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

mod batch_partition;
mod burn_engine;
mod cpu;
pub mod device;
mod engine;
mod error;
mod input;
mod kernel_selection;
pub mod model;
pub mod model_file;
mod network_adapter;
mod options;
mod ranking;
mod reference_logits;
mod self_test;
mod startup;

pub use burn_engine::{BurnEngine, DeviceAssignment};
pub use cpu::{configure_cpu, default_threads, has_bf16, instruction_set};
pub use device::adapters::{self, select_auto};
pub use device::{ChosenDevice, DeviceError, DeviceInfo};
pub use engine::{Engine, EngineError, Logits, Output, Sample, catch_panic};
pub use error::{PrecisionError, StartError};
#[doc(hidden)]
pub use input::source_of;
pub use model_import::panic_message;
pub use options::{DeviceChoice, DeviceChoices, KernelChoice, Options, Precision, ResizeChoice};
pub use ranking::{ScoredClass, argmax, sigmoid_top_k, softmax_top_k};
pub use reference_logits::reference_logits_on_cpu;
pub use self_test::Difference;
pub use startup::{ReferenceSource, SelfTestReport, Step, self_test_report};

/// Sets the folder in which drivers and compilers store compiled kernels. Call it before the program starts threads or opens
/// devices; later calls have no effect.
pub fn set_cache_folder(folder: &Path) {
    kiln_kernels::compiler_cache::set_directory(folder);
}

/// The settings of inference.
#[derive(Clone, Debug)]
pub struct Config {
    /// The devices.
    pub device: DeviceChoices,
    /// The number of threads of the CPU kernels.
    pub threads: usize,
    /// The number format of tensors on a GPU, or of products on the CPU.
    pub precision: Precision,
    /// The kernels on a GPU.
    pub kernels: KernelChoice,
    /// The device that resizes images.
    pub resize: ResizeChoice,
    /// The folder for compiled kernels and measurements; `None` disables caching.
    pub cache: Option<PathBuf>,
}
