//! A Vulkan device for tests. The tests of other crates include this file by path.

use std::sync::OnceLock;

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind};

/// Returns the default Vulkan device, or a software adapter. Without one, it prints that the test is skipped.
///
/// # Panics
///
/// Panics if there is no device and `CI` is set.
pub fn device() -> Option<Device> {
    // A process can initialise a runtime only once.
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    let started = DEVICE.get_or_init(|| {
        [DeviceKind::DefaultDevice, DeviceKind::Cpu]
            .into_iter()
            .find_map(|kind| Device::wgpu_options().device_kind(kind).graphics_api(WgpuBackend::Vulkan).init().ok())
    });
    if started.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no Vulkan adapter; install one, for example mesa-vulkan-drivers");
        eprintln!("SKIPPED: this machine has no Vulkan adapter; mesa-vulkan-drivers provides one in software");
    }
    started.clone()
}
