//! CPU kernels for convolution, pooling and scaling of NHWC images, compiled for each instruction set.
//!
//! This module does not depend on Burn: input and output are slices of f32. In NHWC the channels of a pixel are adjacent.
//!
//! `simd` and `isa` abstract over instruction sets, and `nhwc` over memory. `dense`, `depthwise` and `pooling` hold the
//! kernels. `conv`, `general_conv` and `inverted_bottleneck` are their safe interface. [`tensor`] holds the operations on tensors
//! of any rank. [`Context`] holds the resources that they use: there is
//! no global state.

// The compiler keeps a register tile in registers only if counted loops index it.
#![allow(clippy::needless_range_loop)]

mod activation;
mod buffers;
mod context;
mod conv;
mod conv_spec;
mod dense;
mod depthwise;
mod general_conv;
#[cfg(test)]
mod general_conv_tests;
mod general_depthwise;
mod grouped_conv;
mod inverted_bottleneck;
mod isa;
mod nhwc;
mod packed_weights;
mod peak;
mod pooling;
mod simd;
pub mod tensor;
#[cfg(test)]
mod tests;
mod thread_team;
mod winograd;

pub use context::Context;
pub(crate) use conv::PackedConv;
pub use conv_spec::{ConvSpec, GeneralConvSpec};
pub use general_conv::PackedGeneralConv;
pub(crate) use inverted_bottleneck::InvertedBottleneck;
pub use isa::Isa;
pub use kiln_ops::{Activation, Geometry, Pooling};
pub(crate) use nhwc::NhwcBatch;
pub use peak::peak_flops;
pub(crate) use pooling::{pool, scale};
pub use thread_team::default_threads;
