//! Opens the device that `--device` selects.

use burn::tensor::wgpu::{WgpuBackend, WgpuSetup};
use burn::tensor::{Device, DeviceKind};
use burn_wgpu::wgpu;
use kiln_kernels::cpu::{Context, Isa, default_threads};

use super::adapters::{self, Adapter, Api, Handle, Kind, describe, select, select_auto};
use super::{ChosenDevice, DeviceError, DeviceInfo, Replacement};
use crate::options::DeviceChoice;

/// Opens the device that `choice` selects on this machine. If the runtime is wgpu and the compiler is WGSL, each call creates
/// a new device; other runtimes create a device once per process.
///
/// If the requested device is not available, this is an error, never a fallback. Only `auto` may select the CPU.
///
/// # Errors
///
/// The device does not exist, is not included in the build, or does not open.
pub fn choose(choice: &DeviceChoice) -> Result<ChosenDevice, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu("requested".to_string())),
        DeviceChoice::Cuda(index) => cuda(*index),
        DeviceChoice::Auto => match select_auto(&adapters::enumerate()) {
            Ok(adapter) => open(adapter, *choice, "auto: the first GPU".to_string()),
            Err(why) => Ok(cpu(format!("auto: {why}"))),
        },
        DeviceChoice::Vulkan(index) => open_requested(*choice, Api::Vulkan, *index),
        DeviceChoice::Metal => open_requested(*choice, Api::Metal, None),
    }
}

fn open_requested(choice: DeviceChoice, api: Api, index: Option<usize>) -> Result<ChosenDevice, DeviceError> {
    let adapters = adapters::enumerate();
    let adapter = select(&adapters, api, index).ok_or_else(|| DeviceError::Absent { wanted: describe(api, index) })?;
    open(adapter, choice, "requested".to_string())
}

/// Returns the context of a device for which none was configured.
fn default_context() -> Context {
    Context::new(Isa::best(), default_threads())
}

/// Returns the CPU device, which is always available.
pub(crate) fn cpu(reason: String) -> ChosenDevice {
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
        replacement: Replacement::default(),
    }
}

fn open(adapter: &Adapter, choice: DeviceChoice, reason: String) -> Result<ChosenDevice, DeviceError> {
    let opened = open_adapter(adapter).map_err(|reason| DeviceError::Broken { name: adapter.name.clone(), reason })?;
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
        replacement: Replacement::default(),
    })
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<ChosenDevice, DeviceError> {
    // The runtime loads the driver on first use, and panics if there is none.
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
        reason: "requested".to_string(),
        choice: DeviceChoice::Cuda(index),
        is_software: false,
        max_buffer_bytes: 1 << 30,
        slot: format!("cuda:{index}"),
        wgpu: None,
        cpu: default_context(),
        replacement: Replacement::default(),
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Result<ChosenDevice, DeviceError> {
    Err(DeviceError::NotBuilt { runtime: "CUDA", feature: "cuda" })
}

/// Burn's device, and wgpu's device if Kiln created it.
struct Opened {
    device: Device,
    wgpu: Option<wgpu::Device>,
}

/// True if this build has the native shader compilers. They require more features of a device than Kiln requests.
const NATIVE_COMPILER: bool = cfg!(any(feature = "vulkan", feature = "metal"));

/// Opens an adapter. If possible, each call creates a new device, so that a lost device can be replaced. The error is the
/// runtime's reason.
fn open_adapter(adapter: &Adapter) -> Result<Opened, String> {
    match &adapter.handle {
        Some(handle) if !NATIVE_COMPILER => open_with_wgpu(adapter, handle),
        _ => open_with_burn(adapter),
    }
}

fn open_with_wgpu(adapter: &Adapter, handle: &Handle) -> Result<Opened, String> {
    // Like Burn, request all features of the adapter, except for the experimental ones.
    let unwanted = wgpu::Features::MAPPABLE_PRIMARY_BUFFERS | wgpu::Features::all_experimental_mask();
    let request = handle.adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("kiln"),
        required_features: handle.adapter.features().difference(unwanted),
        required_limits: handle.adapter.limits(),
        // Burn's runtime manages memory pages.
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        trace: wgpu::Trace::Off,
        experimental_features: wgpu::ExperimentalFeatures::disabled(),
    });
    let opened = futures_util::FutureExt::now_or_never(request).ok_or("the driver does not respond")?;
    let (device, queue) = opened.map_err(|e| e.to_string())?;
    let setup = WgpuSetup {
        instance: handle.instance.clone(),
        adapter: handle.adapter.clone(),
        device: device.clone(),
        queue,
        backend: match adapter.api {
            Api::Vulkan => wgpu::Backend::Vulkan,
            Api::Metal => wgpu::Backend::Metal,
            Api::Dx12 => wgpu::Backend::Dx12,
        },
    };
    let opened = Device::wgpu_options().setup(setup).init().map_err(|e| e.to_string())?;
    Ok(Opened { device: opened, wgpu: Some(device) })
}

/// Opens an adapter by Burn's name for it. Burn creates such a device once per process.
fn open_with_burn(adapter: &Adapter) -> Result<Opened, String> {
    if adapter.kind == Kind::Software && adapter.index > 0 {
        // Burn always opens the first one.
        return Err("only the first software adapter can be opened by this build".to_string());
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
    let opened = Device::wgpu_options().device_kind(kind).graphics_api(api).init();
    opened.map(|device| Opened { device, wgpu: None }).map_err(|e| e.to_string())
}
