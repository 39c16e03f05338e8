//! The adapters that wgpu finds on this machine: GPUs, and software adapters such as llvmpipe. Selects one by `--device`, but
//! opens none.

use burn_wgpu::wgpu;

/// One adapter under one graphics API.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The product's name, as the driver reports it.
    pub name: String,
    /// The driver and its version.
    pub driver: String,
    /// The graphics API.
    pub api: Api,
    /// The kind of hardware.
    pub kind: Kind,
    /// Its position among the adapters of the same API and kind, as Burn counts GPUs.
    pub index: usize,
    /// True if shaders may compute in f16.
    pub has_f16: bool,
    /// Maximum size of a buffer, in bytes. wgpu does not report the size of the memory.
    pub max_buffer_bytes: u64,
    /// Distinguishes adapters of the same kind: the PCI address, or else the number.
    pub slot: String,
    /// wgpu's handles for opening the adapter; absent in tests.
    pub(super) handle: Option<Handle>,
}

/// wgpu's handles of an adapter.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) instance: wgpu::Instance,
    pub(super) adapter: wgpu::Adapter,
}

/// Graphics APIs with compute shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Vulkan.
    Vulkan,
    /// Metal.
    Metal,
    /// Direct3D 12.
    Dx12,
}

/// The kind of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU that a hypervisor provides.
    Virtual,
    /// A CPU that implements a graphics API.
    Software,
}

impl Adapter {
    /// Returns true for a GPU, false for a software adapter.
    pub fn is_gpu(&self) -> bool {
        self.kind != Kind::Software
    }

    /// Returns the shader compiler that this build uses for the adapter: `WGSL`, `SPIR-V` or `MSL`.
    pub fn compiler(&self) -> &'static str {
        match self.api {
            Api::Vulkan if cfg!(feature = "vulkan") => "SPIR-V",
            Api::Metal if cfg!(feature = "metal") => "MSL",
            _ => "WGSL",
        }
    }

    /// Returns the values of `--precision` that the adapter supports.
    pub fn precisions(&self) -> &'static str {
        if self.has_f16 { "f32, f16" } else { "f32" }
    }
}

/// Returns every adapter that may run a model, in wgpu's order. Adapters that the driver reports neither as GPU nor as CPU are
/// skipped.
pub fn enumerate() -> Vec<Adapter> {
    let apis = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = apis;
    let instance = wgpu::Instance::new(descriptor);
    let mut found: Vec<Adapter> = Vec::new();
    for adapter in futures_util::FutureExt::now_or_never(instance.enumerate_adapters(apis)).unwrap_or_default() {
        let info = adapter.get_info();
        let (Some(api), Some(kind)) = (api_of(info.backend), kind_of(info.device_type)) else {
            continue;
        };
        let index = found.iter().filter(|other| other.api == api && other.kind == kind).count();
        found.push(Adapter {
            name: info.name,
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
            api,
            kind,
            index,
            has_f16: adapter.features().contains(wgpu::Features::SHADER_F16),
            slot: if info.device_pci_bus_id.is_empty() {
                format!("{api} {kind} {index}")
            } else {
                info.device_pci_bus_id
            },
            max_buffer_bytes: adapter.limits().max_storage_buffer_binding_size,
            handle: Some(Handle { instance: instance.clone(), adapter }),
        });
    }
    found
}

fn api_of(backend: wgpu::Backend) -> Option<Api> {
    match backend {
        wgpu::Backend::Vulkan => Some(Api::Vulkan),
        wgpu::Backend::Metal => Some(Api::Metal),
        wgpu::Backend::Dx12 => Some(Api::Dx12),
        _ => None,
    }
}

fn kind_of(device_type: wgpu::DeviceType) -> Option<Kind> {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => Some(Kind::Discrete),
        wgpu::DeviceType::IntegratedGpu => Some(Kind::Integrated),
        wgpu::DeviceType::VirtualGpu => Some(Kind::Virtual),
        wgpu::DeviceType::Cpu => Some(Kind::Software),
        wgpu::DeviceType::Other => None,
    }
}

impl std::fmt::Display for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Vulkan => "Vulkan",
            Self::Metal => "Metal",
            Self::Dx12 => "Direct3D 12",
        })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete GPU",
            Self::Integrated => "integrated GPU",
            Self::Virtual => "virtual GPU",
            Self::Software => "software",
        })
    }
}

/// Returns the GPU that `auto` selects, or the reason for selecting the CPU. Software adapters are skipped, since the CPU
/// engine is faster.
pub fn select_auto(adapters: &[Adapter]) -> Result<&Adapter, String> {
    let gpus = || adapters.iter().filter(|adapter| adapter.is_gpu());
    gpus().find(|adapter| adapter.kind == Kind::Discrete).or_else(|| gpus().next()).ok_or_else(|| {
        match adapters.first() {
            Some(software) => {
                format!("no GPU found ({} is a software adapter, which is slower than the CPU engine)", software.name)
            }
            None => "no GPU found".to_string(),
        }
    })
}

/// Returns the adapter with a number under an API; without a number the first adapter, GPUs before software adapters.
pub(super) fn select(adapters: &[Adapter], api: Api, index: Option<usize>) -> Option<&Adapter> {
    let mut candidates = adapters.iter().filter(|adapter| adapter.api == api);
    match index {
        Some(index) => candidates.nth(index),
        None => candidates.clone().find(|adapter| adapter.is_gpu()).or_else(|| candidates.next()),
    }
}

/// Returns a text for an adapter that was not found.
pub(super) fn describe(api: Api, index: Option<usize>) -> String {
    index.map_or_else(|| format!("{api} adapter"), |index| format!("{api} adapter number {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, kind: Kind) -> Adapter {
        Adapter {
            name: name.to_string(),
            driver: String::new(),
            api: Api::Vulkan,
            kind,
            index: 0,
            has_f16: false,
            max_buffer_bytes: 0,
            slot: String::new(),
            handle: None,
        }
    }

    #[test]
    fn auto_prefers_a_discrete_gpu() {
        let adapters =
            [adapter("llvmpipe", Kind::Software), adapter("Iris", Kind::Integrated), adapter("H100", Kind::Discrete)];
        assert_eq!(select_auto(&adapters).unwrap().name, "H100");
        assert_eq!(select_auto(&adapters[..2]).unwrap().name, "Iris");
    }

    #[test]
    fn auto_skips_software_adapters_and_returns_the_reason() {
        let reason = select_auto(&[adapter("llvmpipe", Kind::Software)]).unwrap_err();
        assert!(reason.contains("llvmpipe is a software adapter"), "{reason}");
        assert_eq!(select_auto(&[]).unwrap_err(), "no GPU found");
    }

    #[test]
    fn vulkan_selects_a_software_adapter_without_a_gpu() {
        let adapters = [adapter("llvmpipe", Kind::Software), adapter("Iris", Kind::Integrated)];
        assert_eq!(select(&adapters, Api::Vulkan, None).unwrap().name, "Iris");
        assert_eq!(select(&adapters[..1], Api::Vulkan, None).unwrap().name, "llvmpipe");
        assert_eq!(select(&adapters, Api::Vulkan, Some(0)).unwrap().name, "llvmpipe");
        assert!(select(&adapters, Api::Vulkan, Some(2)).is_none());
    }
}
