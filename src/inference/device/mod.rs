//! Makes a `--device` choice real, and keeps the reason for the log. There is no fallback: what was asked for
//! and cannot be had is an error, and only `auto` may pick the CPU. `latest.rs` has what takes a lost device's place.

mod latest;

use burn::tensor::{DType, Device};
use burn_wgpu::wgpu;
use kiln_kernels::{Kernels, Tiles};

use super::adapters::{self, Adapter, Api, Kind};
use super::choice::DeviceChoice;
use super::open;
use super::pick::{pick, pick_auto, wanted};
use latest::Place;

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

/// Brings up the device that `choice` means on this machine. Each call makes a new device where wgpu is its runtime and
/// WGSL its compiler; other runtimes are set up once a process.
///
/// # Errors
///
/// The device is not there, not built in, or does not start.
pub fn choose(choice: &DeviceChoice) -> Result<ChosenDevice, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu("asked for".to_string())),
        DeviceChoice::Cuda(index) => cuda(*index),
        DeviceChoice::Auto => match pick_auto(&adapters::enumerate()) {
            Ok(adapter) => open(adapter, *choice, "auto: the first GPU".to_string()),
            Err(why) => Ok(cpu(format!("auto: {why}"))),
        },
        DeviceChoice::Vulkan(index) => asked_for(*choice, Api::Vulkan, *index),
        DeviceChoice::Metal => asked_for(*choice, Api::Metal, None),
    }
}

fn asked_for(choice: DeviceChoice, api: Api, index: Option<usize>) -> Result<ChosenDevice, DeviceError> {
    let adapters = adapters::enumerate();
    let adapter = pick(&adapters, api, index).ok_or_else(|| DeviceError::Absent { wanted: wanted(api, index) })?;
    open(adapter, choice, "asked for".to_string())
}

/// The CPU, which is always there.
pub(super) fn cpu(reason: String) -> ChosenDevice {
    ChosenDevice {
        device: Device::flex(),
        info: DeviceInfo { name: "CPU".to_string(), api: "flex".to_string(), driver: None, compiler: "Rust" },
        is_gpu_runtime: false,
        reason,
        choice: DeviceChoice::Cpu,
        is_software: false,
        max_buffer_bytes: 1 << 30,
        slot: "cpu".to_string(),
        wgpu: None,
        place: Place::default(),
    }
}

fn open(adapter: &Adapter, choice: DeviceChoice, reason: String) -> Result<ChosenDevice, DeviceError> {
    let opened = open::open(adapter).map_err(|reason| DeviceError::Broken { name: adapter.name.clone(), reason })?;
    Ok(ChosenDevice {
        device: opened.device,
        info: DeviceInfo {
            name: adapter.name.clone(),
            api: adapter.api.to_string(),
            driver: Some(adapter.driver.clone()),
            compiler: adapter.compiler(),
        },
        is_gpu_runtime: true,
        reason,
        choice,
        is_software: adapter.kind == Kind::Software,
        max_buffer_bytes: adapter.max_buffer_bytes,
        slot: adapter.slot.clone(),
        wgpu: opened.wgpu,
        place: Place::default(),
    })
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<ChosenDevice, DeviceError> {
    // The runtime loads the driver on first use and panics where there is none.
    let device = std::panic::catch_unwind(|| {
        let device = Device::cuda(index);
        device.sync().map(|()| device).map_err(|e| e.to_string())
    })
    .unwrap_or_else(|_| Err("the CUDA driver cannot be loaded".to_string()))
    .map_err(|reason| DeviceError::Broken { name: format!("CUDA device {index}"), reason })?;
    Ok(ChosenDevice {
        device,
        info: DeviceInfo {
            name: format!("CUDA device {index}"),
            api: "CUDA".to_string(),
            driver: None,
            compiler: "CUDA",
        },
        is_gpu_runtime: true,
        reason: "asked for".to_string(),
        choice: DeviceChoice::Cuda(index),
        is_software: false,
        max_buffer_bytes: 1 << 30,
        slot: format!("cuda:{index}"),
        wgpu: None,
        place: Place::default(),
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Result<ChosenDevice, DeviceError> {
    Err(DeviceError::NotBuilt { runtime: "CUDA", feature: "cuda" })
}
