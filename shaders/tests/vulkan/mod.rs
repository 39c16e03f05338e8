//! A Vulkan device for tests, of whatever kind this machine has. Other crates' tests include this file.

use std::sync::OnceLock;

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind};

/// The device; without one the test is skipped, which is said, or, where `CI` is set, fails.
pub fn device() -> Option<Device> {
    // A runtime is set up once a process.
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    let started = DEVICE.get_or_init(|| {
        [DeviceKind::DefaultDevice, DeviceKind::Cpu]
            .into_iter()
            .find_map(|kind| Device::wgpu_options().device_kind(kind).graphics_api(WgpuBackend::Vulkan).init().ok())
    });
    if started.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no Vulkan adapter: install one, mesa-vulkan-drivers for instance");
        eprintln!("SKIPPED: this machine has no Vulkan adapter (mesa-vulkan-drivers provides one in software)");
    }
    started.clone()
}
