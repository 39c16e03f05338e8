//! Runs a network on a device: the `Engine` trait, its Burn implementation, and the choice of the device.
//!
//! It knows pictures of the model's size, tensors, and rows of logits. It knows neither HTTP nor queues.
//!
//! | file | responsibility |
//! |---|---|
//! | `engine.rs` | the trait that batching drives, and its errors |
//! | `burn_engine.rs` | upload, normalise, run, download |
//! | `choice.rs` | what `--device` may say |
//! | `cpu.rs` | threads and precision of the CPU device |
//! | `adapters.rs` | the GPUs and software adapters of this machine |
//! | `device.rs` | a choice made real, with the reason |
//! | `input.rs` | samples to the network's input |
//! | `lanes.rs` | how the CPU's idle threads share a batch |
//! | `batch_sizes.rs` | which batch sizes a device is given |
//! | `ranking.rs` | logits to the most probable classes |

pub mod adapters;
mod batch_sizes;
mod burn_engine;
mod choice;
mod cpu;
pub mod device;
mod engine;
mod input;
mod lanes;
mod ranking;

pub use burn_engine::{BurnEngine, StartError};
pub use choice::DeviceChoice;
pub use cpu::{CpuError, Precision, configure_cpu, default_threads};
pub use device::{ChosenDevice, DeviceError, DeviceInfo};
pub use engine::{Engine, EngineError, Logits, Sample, panic_message};
pub use ranking::{Ranked, rank};

/// What inference needs to know from the operator.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to run.
    pub device: DeviceChoice,
    /// Threads that the CPU device computes with.
    pub threads: usize,
    /// What it multiplies in.
    pub precision: Precision,
}
