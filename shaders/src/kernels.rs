//! Which implementation of the hand-written operations a device gets. It decides; it runs nothing.

use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// The implementation of every hand-written operation on one device, chosen once at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Kiln's own: WGSL on the GPU, a Rust loop on the CPU.
    HandWritten,
    /// Stock tensor operations that compute the same.
    Plain,
}

impl Kernels {
    /// The quickest implementation that `device` can run.
    ///
    /// WGSL templates are a launch error under the SPIR-V and MSL compilers, which the `vulkan` and `metal`
    /// features switch on, and on runtimes that are not wgpu; those devices get the twins.
    pub fn best_for(device: &Device) -> Self {
        match device.as_dispatch() {
            DispatchDevice::Flex(_) => Self::HandWritten,
            DispatchDevice::Cube(cube) if compiles_wgsl(cube) => Self::HandWritten,
            // Other backends appear here when a feature adds them to the enum.
            #[allow(unreachable_patterns)]
            _ => Self::Plain,
        }
    }
}

fn compiles_wgsl(device: &burn_cubecl::CubeDevice) -> bool {
    let native_compiler = cfg!(any(feature = "vulkan", feature = "metal"));
    matches!(device, burn_cubecl::CubeDevice::Wgpu(_)) && !native_compiler
}

impl std::fmt::Display for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::HandWritten => "hand-written",
            Self::Plain => "plain",
        })
    }
}
