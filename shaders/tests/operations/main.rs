//! The operations of this crate against formulas and against their reference implementations. The GPU tests use any Vulkan
//! device of this machine.

#[path = "../vulkan/mod.rs"]
mod vulkan;

// The features `vulkan` and `metal` replace the WGSL compiler, so that these programs cannot run.
#[cfg(not(any(feature = "vulkan", feature = "metal")))]
mod layers;
mod normalize;
mod resize;
mod tensor;
#[cfg(not(any(feature = "vulkan", feature = "metal")))]
mod top_k;
