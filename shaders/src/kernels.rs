//! Which implementation of the hand-written operations a device gets. It decides; it runs nothing.

use std::cell::Cell;

use burn::backend::DispatchDevice;
use burn::tensor::Device;

pub use crate::gpu::Tiles;

/// The implementation of every hand-written operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Kiln's own: WGSL on a GPU, with its tiles held there, and kernels in Rust on the CPU.
    Fused(Tiles),
    /// Stock tensor operations that compute the same.
    Stock,
}

thread_local! {
    static IN_USE: Cell<Option<Kernels>> = const { Cell::new(None) };
}

impl Kernels {
    /// The quickest implementation that `device` can run, if it is a GPU.
    ///
    /// WGSL programs are a launch error under the SPIR-V and MSL compilers, which the `vulkan` and `metal`
    /// features switch on, and on runtimes that are not wgpu; those devices get the twins.
    pub fn best_for(device: &Device) -> Self {
        match device.as_dispatch() {
            DispatchDevice::Flex(_) => Self::Fused(Tiles::Registers),
            DispatchDevice::Cube(cube) if compiles_wgsl(cube) => Self::Fused(Tiles::Workgroup),
            // Other backends appear here when a feature adds them to the enum.
            #[allow(unreachable_patterns)]
            _ => Self::Stock,
        }
    }

    /// Runs `work` with these kernels on this thread, instead of the best for each tensor's device.
    ///
    /// Fused kernels on a device that cannot run them are a launch error.
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Kernels>);
        impl Drop for Restore {
            fn drop(&mut self) {
                IN_USE.set(self.0);
            }
        }
        let _restore = Restore(IN_USE.replace(Some(self)));
        work()
    }

    /// Those of the scope that this thread is in, or else the best for `device`.
    pub(crate) fn in_use(device: &Device) -> Self {
        IN_USE.get().unwrap_or_else(|| Self::best_for(device))
    }
}

fn compiles_wgsl(device: &burn_cubecl::CubeDevice) -> bool {
    let native_compiler = cfg!(any(feature = "vulkan", feature = "metal"));
    matches!(device, burn_cubecl::CubeDevice::Wgpu(_)) && !native_compiler
}

impl std::fmt::Display for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fused(_) => "fused",
            Self::Stock => "stock",
        })
    }
}
