//! Devices: selection by `--device`, opening, and replacement after a loss.

pub mod adapters;
mod open;

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, Device};
use burn_wgpu::wgpu;
use kiln_kernels::cpu::Context;
use kiln_kernels::{Kernels, Tiles};

use super::options::DeviceChoice;

pub use open::choose;
pub(super) use open::cpu;

/// The description of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Product name, or `CPU`.
    pub name: String,
    /// Graphics API or runtime: `Vulkan`, `Metal`, `CUDA`, `flex`.
    pub api: String,
    /// Driver and version, if the device has a driver.
    pub driver: Option<String>,
    /// The compiler of the kernels: `WGSL`, `SPIR-V`, `MSL`, `CUDA`, or `Rust` if they are compiled into the program.
    pub compiler: &'static str,
}

/// An open device.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    /// Burn's handle.
    pub device: Device,
    /// The description.
    pub info: DeviceInfo,
    /// True if a runtime compiles kernels for the device: every device but the CPU.
    pub is_gpu_runtime: bool,
    /// The reason for the selection, for the log.
    pub reason: String,
    /// The value of `--device` that opens the device again.
    pub(super) choice: DeviceChoice,
    /// True for a software adapter: a CPU that implements a graphics API.
    pub(super) is_software: bool,
    /// Maximum size of a buffer that a kernel reads, in bytes.
    pub(super) max_buffer_bytes: u64,
    /// Distinguishes adapters of the same kind: the PCI address, or the number.
    pub(super) slot: String,
    /// wgpu's handle, if the device can be replaced.
    pub(super) wgpu: Option<wgpu::Device>,
    /// The threads and the instruction set of the CPU kernels. On a GPU they compute the reference logits.
    pub(super) cpu: Context,
    /// The device that replaced this one after a loss. Clones share it.
    replacement: Replacement,
}

impl ChosenDevice {
    /// Returns Kiln's kernels in the variant for this device, or the stock kernels if the device runs no others.
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

    /// Returns true if both are the same hardware.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.info == other.info && self.slot == other.slot
    }

    /// Releases unused memory, if the allocator keeps some.
    pub fn free_unused(&self) {
        if self.is_gpu_runtime {
            self.device.memory_cleanup();
        }
    }

    /// Returns true if tensors may be f16.
    pub(super) fn has_f16(&self) -> bool {
        self.is_gpu_runtime && self.device.supports_dtype(DType::F16)
    }

    /// Destroys the device as a driver reset does, to test the recovery of its engines. No-op if the device is not from wgpu.
    pub fn simulate_loss(&self) {
        if let Some(device) = &self.wgpu {
            device.destroy();
        }
    }

    /// Returns the device to use now: this one, or its last replacement after a loss.
    pub fn latest(&self) -> Self {
        let replacement = self.replacement.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*replacement {
            Some(next) => Self { replacement: self.replacement.clone(), ..(**next).clone() },
            None => self.clone(),
        }
    }

    /// Records that `next` replaces this device after a loss. The CPU context stays.
    pub(super) fn replaced_by(&self, next: Self) -> Self {
        let next = Self { cpu: self.cpu.clone(), ..next };
        *self.replacement.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(next));
        self.latest()
    }
}

/// The device that replaced a lost one; `None` before a loss.
#[derive(Clone, Debug, Default)]
struct Replacement(Arc<Mutex<Option<Box<ChosenDevice>>>>);

/// Why a device is not available.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// This machine has no such adapter.
    #[error("this machine has no {wanted}. 'kiln devices' lists the devices; '--device cpu' is always available.")]
    Absent {
        /// The requested adapter.
        wanted: String,
    },
    /// The build does not include the runtime.
    #[error("this build has no {runtime} support. Build with '--features {feature}', or use another --device.")]
    NotBuilt {
        /// The runtime's name.
        runtime: &'static str,
        /// The cargo feature that adds it.
        feature: &'static str,
    },
    /// The adapter exists, but does not open.
    #[error("device '{name}' cannot be opened: {reason}")]
    Broken {
        /// The adapter's name.
        name: String,
        /// The reason that the runtime reports.
        reason: String,
    },
}
