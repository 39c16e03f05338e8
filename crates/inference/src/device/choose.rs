//! Makes a `--device` choice real, and keeps the reason for the log. There is no fallback: what was asked for
//! and cannot be had is an error, and only `auto` may pick the CPU.

use burn::tensor::Device;
use kiln_kernels::cpu::{Context, Isa, default_threads};

use super::latest::Place;
use super::{ChosenDevice, DeviceError, DeviceInfo};
use crate::adapters::{self, Adapter, Api, Kind};
use crate::choice::DeviceChoice;
use crate::open;
use crate::pick::{pick, pick_auto, wanted};

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

/// Returns the context of a device for which none was configured.
fn default_context() -> Context {
    Context::new(Isa::best(), default_threads())
}

/// The CPU, which is always there.
pub(in crate) fn cpu(reason: String) -> ChosenDevice {
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
        cpu: default_context(),
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
        cpu: default_context(),
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
        cpu: default_context(),
        place: Place::default(),
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Result<ChosenDevice, DeviceError> {
    Err(DeviceError::NotBuilt { runtime: "CUDA", feature: "cuda" })
}
