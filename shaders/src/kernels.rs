//! The choice between Kiln's own kernels and the reference implementation.

use std::cell::Cell;

use burn::backend::DispatchDevice;
use burn::tensor::Device;

use crate::wgsl::Tiles;

/// The implementation of the operations of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Kiln's own kernels: WGSL on a GPU, with this kind of tiles, and Rust on the CPU.
    Fused(Tiles),
    /// The reference implementation in Burn's tensor operations.
    Stock,
}

thread_local! {
    /// The kernels of the innermost [`Kernels::scope`] on this thread.
    static CURRENT: Cell<Option<Kernels>> = const { Cell::new(None) };
}

impl Kernels {
    /// Returns the fastest implementation that `device` can run.
    ///
    /// WGSL programs fail to launch under the SPIR-V and MSL compilers, which the features `vulkan` and `metal` enable, and
    /// on runtimes other than wgpu. Those devices get [`Kernels::Stock`].
    pub fn best_for(device: &Device) -> Self {
        match device.as_dispatch() {
            DispatchDevice::Flex(_) => Self::Fused(Tiles::Registers),
            DispatchDevice::Cube(cube) if compiles_wgsl(cube) => Self::Fused(Tiles::Workgroup),
            // A feature of Burn can add other backends to the enum.
            #[allow(unreachable_patterns)]
            _ => Self::Stock,
        }
    }

    /// Runs `work` with these kernels on this thread, instead of the best ones for the device of each tensor.
    ///
    /// Fused kernels fail to launch on a device that cannot run them.
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Kernels>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self)));
        work()
    }

    /// Returns the kernels of the current [`Kernels::scope`], or the best ones for `device` outside of a scope.
    pub(crate) fn current(device: &Device) -> Self {
        CURRENT.get().unwrap_or_else(|| Self::best_for(device))
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
