//! The adapters that wgpu finds on this machine: GPUs, and software stand-ins such as llvmpipe. It opens none.

use burn_wgpu::wgpu;

/// One adapter under one graphics API.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The product's name, as the driver reports it.
    pub name: String,
    /// The driver and its version.
    pub driver: String,
    /// The graphics API it is reached through.
    pub api: Api,
    /// What it is.
    pub kind: Kind,
    /// Its position among the adapters of the same API and kind, as Burn counts GPUs.
    pub index: usize,
    /// Whether shaders may compute in f16.
    pub has_f16: bool,
    /// The largest buffer that it allows, in bytes. Of its memory wgpu tells no more.
    pub max_buffer_bytes: u64,
    /// Which of several like ones it is: its PCI address, or where there is none its number.
    pub slot: String,
    /// What it is opened by; absent in tests.
    pub(super) handle: Option<Handle>,
}

/// wgpu's own words for an adapter.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) instance: wgpu::Instance,
    pub(super) adapter: wgpu::Adapter,
}

/// Graphics APIs that compute shaders run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Vulkan.
    Vulkan,
    /// Metal.
    Metal,
    /// Direct3D 12.
    Dx12,
}

/// What an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU lent by a hypervisor.
    Virtual,
    /// A CPU that pretends to be a GPU.
    Software,
}

impl Adapter {
    /// True for a GPU, false for a software adapter.
    pub fn is_gpu(&self) -> bool {
        self.kind != Kind::Software
    }

    /// The shader compiler that this build uses on it: `WGSL`, `SPIR-V` or `MSL`.
    pub fn compiler(&self) -> &'static str {
        match self.api {
            Api::Vulkan if cfg!(feature = "vulkan") => "SPIR-V",
            Api::Metal if cfg!(feature = "metal") => "MSL",
            _ => "WGSL",
        }
    }

    /// What `--precision` may be on it.
    pub fn precisions(&self) -> &'static str {
        if self.has_f16 { "f32, f16" } else { "f32" }
    }
}

/// Every adapter that could run a model, in wgpu's order. What the driver does not call a GPU or a CPU is left out.
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
