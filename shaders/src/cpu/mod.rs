//! Kernels for the CPU: convolution, pooling and what they need, written for each instruction set.
//!
//! It knows nothing of Burn: slices go in, slices come out. All of it is NHWC, the layout in which the channels of a
//! pixel lie side by side.

// The compiler keeps a tile in registers only where it is indexed by counted loops.
#![allow(clippy::needless_range_loop)]

mod activation;
mod aligned;
mod arena;
mod chain;
mod convolution;
mod dense;
mod depthwise;
mod geometry;
mod grid;
mod isa;
mod padded;
mod parts;
mod pooling;
mod scratch;
mod simd;
mod simple;
mod target;
#[cfg(test)]
mod tests;
pub mod threads;

pub use activation::Activation;
pub(crate) use arena::Buffer;
pub(crate) use chain::Chain;
pub use convolution::ConvSpec;
pub(crate) use convolution::{PackedConv, Pictures};
pub use geometry::Geometry;
pub use isa::Isa;
pub use pooling::Pooling;
pub(crate) use simple::{pool, scale};
