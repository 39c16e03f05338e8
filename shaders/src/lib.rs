//! Kiln's own tensor operations, with three implementations of each: CPU kernels, WGSL kernels, and a reference
//! implementation in Burn's tensor operations.
//!
//! | operation | WGSL kernel | CPU kernel | reference implementation |
//! |---|---|---|---|
//! | [`Normalizer::run`]: u8 NHWC to normalised f32 or f16, NCHW or NHWC | `normalize.wgsl` | `normalize.rs` | `normalize.rs` |
//! | [`Normalizer::resize`]: decoded images to the input of the network | `resize.wgsl` | none: the server resizes before | `resize.rs` |
//! | [`top_k`]: logits to the most probable classes | `softmax_topk.wgsl` | none: the caller ranks | none: the caller ranks |
//! | [`layers::tensor`]: tensor operations and general convolutions of any classifier | none | [`cpu::tensor`], [`cpu`] | none: the CPU only |
//! | [`layers`]: fused convolution, inverted bottleneck, pooling, scaling, in NHWC | `product*.wgsl` with `pointwise.wgsl` or `conv*.wgsl`, `depthwise.wgsl`, `pool.wgsl` | [`cpu`] | `layers/reference.rs` |
//!
//! Each operation is a Burn backend extension, so that one call reaches the backend of its tensors. A WGSL kernel runs only
//! if the runtime uses the WGSL compiler; other GPUs run the reference implementation. [`Kernels::best_for`] selects the
//! implementation for a device.
//!
//! The crate depends on Burn, and neither on the server nor on a model.

// A truncated index is read outside of its buffer. Tests cast values that they know.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

pub mod compiler_cache;
pub mod cpu;
mod gpu;
mod kernels;
pub mod layers;
pub mod memory;
mod normalize;
pub mod resize;
mod top_k;
mod wgsl;

pub use kernels::Kernels;
pub use normalize::{Layout, Normalizer};
pub use top_k::top_k;
pub use wgsl::Tiles;
