//! Opens an adapter for Burn. Each opening is a device of its own, so that one that was lost can be replaced.

use burn::tensor::wgpu::{WgpuBackend, WgpuSetup};
use burn::tensor::{Device, DeviceKind};
use burn_wgpu::wgpu;

use super::adapters::{Adapter, Api, Handle, Kind};

/// An adapter's device, and what it was made of where Burn did not make it by itself.
pub(super) struct Opened {
    pub(super) device: Device,
    pub(super) wgpu: Option<wgpu::Device>,
}

/// Whether this build has the native shader compilers, which ask for more of a device than we do.
const NATIVE_COMPILER: bool = cfg!(any(feature = "vulkan", feature = "metal"));

/// Opens it. The reason of a failure is the runtime's own.
pub(super) fn open(adapter: &Adapter) -> Result<Opened, String> {
    match &adapter.handle {
        Some(handle) if !NATIVE_COMPILER => with_setup(adapter, handle),
        _ => by_kind(adapter),
    }
}

fn with_setup(adapter: &Adapter, handle: &Handle) -> Result<Opened, String> {
    // All that the adapter has, as Burn itself asks for, but for what is experimental.
    let unwanted = wgpu::Features::MAPPABLE_PRIMARY_BUFFERS | wgpu::Features::all_experimental_mask();
    let request = handle.adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("kiln"),
        required_features: handle.adapter.features().difference(unwanted),
        required_limits: handle.adapter.limits(),
        // The runtime allocates pages by itself.
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        trace: wgpu::Trace::Off,
        experimental_features: wgpu::ExperimentalFeatures::disabled(),
    });
    let made = futures_util::FutureExt::now_or_never(request).ok_or("the driver does not answer")?;
    let (device, queue) = made.map_err(|e| e.to_string())?;
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

/// By what Burn calls it. A device that Burn made is made once a process.
fn by_kind(adapter: &Adapter) -> Result<Opened, String> {
    if adapter.kind == Kind::Software && adapter.index > 0 {
        // Burn opens the first one whatever it is asked for.
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
