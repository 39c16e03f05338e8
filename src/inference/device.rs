//! Makes a `--device` choice real, and keeps the reason for the log. There is no fallback: what was asked for
//! and cannot be had is an error, and only `auto` may pick the CPU.

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind};

use super::adapters::{self, Adapter, Api, Kind};
use super::choice::DeviceChoice;

/// What a person may want to know of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Product name, or `CPU`.
    pub name: String,
    /// Graphics API or runtime: `Vulkan`, `Metal`, `CUDA`, `flex`.
    pub api: String,
    /// Driver and version, where there is one.
    pub driver: Option<String>,
}

/// A device that is up.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    /// Burn's handle.
    pub device: Device,
    /// What it is.
    pub info: DeviceInfo,
    /// True where kernels are compiled for each batch size.
    pub is_gpu_runtime: bool,
    /// Why this one, for the start log.
    pub reason: String,
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

/// Brings up the device that `choice` means on this machine. Call it once: a runtime is set up once a process.
///
/// # Errors
///
/// The device is not there, not built in, or does not start.
pub fn choose(choice: &DeviceChoice) -> Result<ChosenDevice, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu("asked for".to_string())),
        DeviceChoice::Cuda(index) => cuda(*index),
        DeviceChoice::Auto => match pick_auto(&adapters::enumerate()) {
            Ok(adapter) => open(adapter, "auto: the first GPU".to_string()),
            Err(why) => Ok(cpu(format!("auto: {why}"))),
        },
        DeviceChoice::Vulkan(index) => {
            let adapters = adapters::enumerate();
            let adapter = pick(&adapters, Api::Vulkan, *index)
                .ok_or_else(|| DeviceError::Absent { wanted: wanted("Vulkan adapter", *index) })?;
            open(adapter, "asked for".to_string())
        }
        DeviceChoice::Metal => {
            let adapters = adapters::enumerate();
            let adapter = pick(&adapters, Api::Metal, None)
                .ok_or_else(|| DeviceError::Absent { wanted: wanted("Metal adapter", None) })?;
            open(adapter, "asked for".to_string())
        }
    }
}

/// The GPU that `auto` takes, or why it takes the CPU. A software adapter does not count: the CPU engine is faster.
pub fn pick_auto(adapters: &[Adapter]) -> Result<&Adapter, String> {
    let gpus = || adapters.iter().filter(|adapter| adapter.is_gpu());
    gpus().find(|adapter| adapter.kind == Kind::Discrete).or_else(|| gpus().next()).ok_or_else(|| {
        match adapters.first() {
            Some(software) => {
                format!("no GPU here ({} is a software adapter, which is slower than the CPU engine)", software.name)
            }
            None => "no GPU here".to_string(),
        }
    })
}

fn pick(adapters: &[Adapter], api: Api, index: Option<usize>) -> Option<&Adapter> {
    let mut those = adapters.iter().filter(|adapter| adapter.api == api);
    match index {
        Some(index) => those.nth(index),
        None => those.clone().find(|adapter| adapter.is_gpu()).or_else(|| those.next()),
    }
}

fn wanted(what: &str, index: Option<usize>) -> String {
    index.map_or_else(|| what.to_string(), |index| format!("{what} number {index}"))
}

fn cpu(reason: String) -> ChosenDevice {
    ChosenDevice {
        device: Device::flex(),
        info: DeviceInfo { name: "CPU".to_string(), api: "flex".to_string(), driver: None },
        is_gpu_runtime: false,
        reason,
    }
}

fn open(adapter: &Adapter, reason: String) -> Result<ChosenDevice, DeviceError> {
    if adapter.kind == Kind::Software && adapter.index > 0 {
        // Burn opens the first one whatever it is asked for.
        let reason = "only the first software adapter can be opened".to_string();
        return Err(DeviceError::Broken { name: adapter.name.clone(), reason });
    }
    let kind = match adapter.kind {
        Kind::Discrete => DeviceKind::DiscreteGpu(adapter.index),
        Kind::Integrated => DeviceKind::IntegratedGpu(adapter.index),
        Kind::Virtual => DeviceKind::VirtualGpu(adapter.index),
        Kind::Software => DeviceKind::Cpu,
    };
    let api = match adapter.api {
        Api::Vulkan => WgpuBackend::Vulkan,
        Api::Metal => WgpuBackend::Metal,
        Api::Dx12 => WgpuBackend::Dx12,
    };
    let device = Device::wgpu_options()
        .device_kind(kind)
        .graphics_api(api)
        .init()
        .map_err(|e| DeviceError::Broken { name: adapter.name.clone(), reason: e.to_string() })?;
    Ok(ChosenDevice {
        device,
        info: DeviceInfo {
            name: adapter.name.clone(),
            api: adapter.api.to_string(),
            driver: Some(adapter.driver.clone()),
        },
        is_gpu_runtime: true,
        reason,
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
        info: DeviceInfo { name: format!("CUDA device {index}"), api: "CUDA".to_string(), driver: None },
        is_gpu_runtime: true,
        reason: "asked for".to_string(),
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Result<ChosenDevice, DeviceError> {
    Err(DeviceError::NotBuilt { runtime: "CUDA", feature: "cuda" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, kind: Kind) -> Adapter {
        Adapter { name: name.to_string(), driver: String::new(), api: Api::Vulkan, kind, index: 0 }
    }

    #[test]
    fn auto_takes_a_real_gpu_and_prefers_a_discrete_one() {
        let adapters =
            [adapter("llvmpipe", Kind::Software), adapter("Iris", Kind::Integrated), adapter("H100", Kind::Discrete)];
        assert_eq!(pick_auto(&adapters).unwrap().name, "H100");
        assert_eq!(pick_auto(&adapters[..2]).unwrap().name, "Iris");
    }

    #[test]
    fn auto_does_not_take_a_software_adapter_and_says_so() {
        let why = pick_auto(&[adapter("llvmpipe", Kind::Software)]).unwrap_err();
        assert!(why.contains("llvmpipe is a software adapter"), "{why}");
        assert_eq!(pick_auto(&[]).unwrap_err(), "no GPU here");
    }

    #[test]
    fn vulkan_accepts_a_software_adapter_where_there_is_no_gpu() {
        let adapters = [adapter("llvmpipe", Kind::Software), adapter("Iris", Kind::Integrated)];
        assert_eq!(pick(&adapters, Api::Vulkan, None).unwrap().name, "Iris");
        assert_eq!(pick(&adapters[..1], Api::Vulkan, None).unwrap().name, "llvmpipe");
        assert_eq!(pick(&adapters, Api::Vulkan, Some(0)).unwrap().name, "llvmpipe");
        assert!(pick(&adapters, Api::Vulkan, Some(2)).is_none());
    }
}
