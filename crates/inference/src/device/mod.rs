//! A device that is up, and why one is not. `choose.rs` brings one up, `latest.rs` has what takes a lost one's place.

mod choose;
mod latest;

use burn::tensor::{DType, Device};
use burn_wgpu::wgpu;
use kiln_kernels::cpu::Context;
use kiln_kernels::{Kernels, Tiles};

use super::choice::DeviceChoice;
use latest::Place;

pub use choose::choose;
pub(super) use choose::cpu;

/// What a person may want to know of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Product name, or `CPU`.
    pub name: String,
    /// Graphics API or runtime: `Vulkan`, `Metal`, `CUDA`, `flex`.
    pub api: String,
    /// Driver and version, where there is one.
    pub driver: Option<String>,
    /// What compiles its kernels: `WGSL`, `SPIR-V`, `MSL`, `CUDA`, or `Rust` where they are compiled already.
    pub compiler: &'static str,
}

/// A device that is up.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    /// Burn's handle.
    pub device: Device,
    /// What it is.
    pub info: DeviceInfo,
    /// True where kernels are compiled on the device's side.
    pub is_gpu_runtime: bool,
    /// Why this one, for the start log.
    pub reason: String,
    /// By what it can be opened again.
    pub(super) choice: DeviceChoice,
    /// A CPU that pretends to be a GPU.
    pub(super) is_software: bool,
    /// The largest buffer that a kernel may be given.
    pub(super) max_buffer_bytes: u64,
    /// Which of several like adapters it is: where it is plugged in, or the number of it.
    pub(super) slot: String,
    /// wgpu's own handle, where another device can take its place.
    pub(super) wgpu: Option<wgpu::Device>,
    /// The threads and the instruction set of the CPU kernels. On a GPU they compute the reference logits.
    pub(super) cpu: Context,
    /// What was opened in its place after it was lost, for all clones.
    place: Place,
}

impl ChosenDevice {
    /// The hand-written kernels in the form that suits it, or the stock ones where it can run no other.
    pub(super) fn best_kernels(&self) -> Kernels {
        match Kernels::best_for(&self.device) {
            Kernels::Fused(_) if self.is_software => Kernels::Fused(Tiles::Registers),
            best => best,
        }
    }

    /// Returns the device with another context for the CPU kernels.
    #[doc(hidden)]
    pub fn with_cpu_context(self, cpu: Context) -> Self {
        Self { cpu, ..self }
    }

    /// Whether both are the same piece of hardware.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.info == other.info && self.slot == other.slot
    }

    /// Has it give back memory that nobody uses any more, where it keeps some.
    pub fn free_unused(&self) {
        if self.is_gpu_runtime {
            self.device.memory_cleanup();
        }
    }

    /// Whether tensors may hold f16.
    pub(super) fn has_f16(&self) -> bool {
        self.is_gpu_runtime && self.device.supports_dtype(DType::F16)
    }

    /// Has the driver take the device away, as after a reset, to see what becomes of the engines on it. Does nothing
    /// where the device is not wgpu's.
    pub fn lose(&self) {
        if let Some(device) = &self.wgpu {
            device.destroy();
        }
    }
}

/// A device that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// This machine has no such adapter.
    #[error("no {wanted} on this machine. 'kiln devices' lists what there is; '--device cpu' always works.")]
    Absent {
        /// What was asked for.
        wanted: String,
    },
    /// The program was built without the runtime.
    #[error("this build has no {runtime} support. Build with '--features {feature}', or choose another --device.")]
    NotBuilt {
        /// The runtime's name.
        runtime: &'static str,
        /// The cargo feature that adds it.
        feature: &'static str,
    },
    /// The adapter is there but does not come up.
    #[error("{name} does not start: {reason}")]
    Broken {
        /// The adapter's name.
        name: String,
        /// What the runtime said.
        reason: String,
    },
}
