//! Runs a network on a device: the `Engine` trait, its Burn implementation, and the choice of the device.
//!
//! It knows pictures of the model's size, tensors, and rows of logits. It knows neither HTTP nor queues.
//!
//! | file | responsibility |
//! |---|---|
//! | `engine.rs` | the trait that batching drives, and its errors |
//! | `burn_engine.rs` | the engine on Burn |
//! | `forward.rs` | upload, normalise, run, download |
//! | `recovery.rs` | the canary while it runs, and another device when it fails |
//! | `options.rs` | how an engine is to run |
//! | `start.rs` | how it comes up |
//! | `warm_up.rs` | its first runs, and which kernels are quicker |
//! | `remembered.rs` | that answer, from one start to the next |
//! | `canary.rs` | the picture whose logits are known |
//! | `known.rs` | who knows them |
//! | `check.rs` | how far a model's answer to it is from the right one |
//! | `placement.rs` | where and how a model runs, for who wants to know |
//! | `choice.rs` | what `--device`, `--kernels` and `--resize` may say |
//! | `precision.rs` | what `--precision` may say, and who has it |
//! | `cpu.rs` | threads and instructions of the CPU device |
//! | `adapters.rs` | the GPUs and software adapters of this machine |
//! | `pick.rs` | which of them is meant |
//! | `open.rs` | one of them made a device |
//! | `device/` | a choice made real, with the reason; what takes its place when it is lost |
//! | `input.rs` | samples to the network's input |
//! | `lanes.rs` | how the CPU's idle threads share a batch |
//! | `batch_sizes.rs` | which batch sizes a device is given |
//! | `ranking.rs` | logits to the most probable classes |
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

pub mod adapters;
mod batch_sizes;
mod burn_engine;
mod canary;
mod check;
mod choice;
mod cpu;
pub mod device;
mod engine;
mod forward;
mod input;
mod known;
mod lanes;
pub mod model;
mod open;
mod options;
mod pick;
mod placement;
mod precision;
mod ranking;
mod recovery;
mod remembered;
mod start;
mod warm_up;

pub use burn_engine::BurnEngine;
pub use canary::Difference;
pub use check::{Checked, Reference, check};
pub use choice::{DeviceChoice, DeviceChoices, KernelChoice, ResizeChoice};
pub use cpu::{configure_cpu, default_threads, has_bf16};
pub use device::{ChosenDevice, DeviceError, DeviceInfo};
pub use engine::{Engine, EngineError, Logits, Output, Sample, caught, panic_message};
#[doc(hidden)]
pub use input::source_of;
pub use known::by_cpu;
pub use options::Options;
pub use pick::pick_auto;
pub use placement::Placement;
pub use precision::{Precision, PrecisionError};
pub use ranking::{Ranked, rank, top};
pub use start::{StartError, Step};

/// Has drivers and compilers keep what they compile below `folder`. To be called before there are other threads and devices;
/// later it does nothing.
pub fn keep_caches(folder: &Path) {
    kiln_kernels::compiler_cache::set_directory(folder);
}

/// What inference needs to know from the operator.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to run.
    pub device: DeviceChoices,
    /// Threads that the CPU device computes with.
    pub threads: usize,
    /// What it multiplies in, or what a GPU's tensors hold.
    pub precision: Precision,
    /// Who computes on a GPU.
    pub kernels: KernelChoice,
    /// Who resizes pictures.
    pub resize: ResizeChoice,
    /// Where what was compiled and measured is kept; nowhere if absent.
    pub cache: Option<PathBuf>,
}
