//! The layers of convolutional classifiers, fused and in NHWC, as generated networks call them.
//!
//! | layer | what it does |
//! |---|---|
//! | [`Conv`] | convolution, bias, residual and activation in one pass |
//! | [`Chain`] | dense, depthwise and pointwise convolution, band by band |
//! | [`pool`], [`global_average_pool`] | pooling |
//! | [`scale`] | a factor for each channel (squeeze and excite) |
//!
//! On the CPU they run the kernels of `cpu/`, on GPUs the WGSL programs beside `Cargo.toml`, and elsewhere, or where
//! [`Kernels::Stock`] is asked for, their twins of stock tensor operations.

mod chain;
mod conv;
mod cube;
mod flex;
mod ops;
mod plain;

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::Tensor;

use crate::Kernels;
pub use crate::cpu::{Activation, ConvSpec, Geometry, Pooling};
use crate::gpu::Tiles;
pub use chain::Chain;
pub use conv::Conv;
pub(crate) use flex::filled;
use ops::{FusedOps, LayerOps};

/// Who runs a layer.
enum Runner {
    Cpu,
    Gpu(Tiles),
    Twin,
}

impl Runner {
    /// For a layer on this tensor.
    fn of(tensor: &Tensor<4>) -> Self {
        let device = tensor.device();
        match (Kernels::in_use(&device), device.as_dispatch()) {
            (Kernels::Stock, _) => Self::Twin,
            (Kernels::Fused(_), DispatchDevice::Flex(_)) => Self::Cpu,
            (Kernels::Fused(tiles), _) => Self::Gpu(tiles),
        }
    }
}

/// Pools f32 `[batch, height, width, channels]` by a window.
///
/// # Panics
///
/// The window is larger than the padded picture.
pub fn pool(input: Tensor<4>, pooling: Pooling, geometry: Geometry) -> Tensor<4> {
    match Runner::of(&input) {
        Runner::Cpu => Tensor::from_dispatch(Dispatch::pool(input.into_dispatch(), pooling, geometry)),
        Runner::Gpu(_) if input.dims()[3].is_multiple_of(4) => {
            Tensor::from_dispatch(Dispatch::fused_pool(input.into_dispatch(), pooling, geometry))
        }
        Runner::Gpu(_) | Runner::Twin => plain::pool(input, pooling, &geometry),
    }
}

/// The mean of each channel: f32 `[batch, height, width, channels]` to `[batch, 1, 1, channels]`.
pub fn global_average_pool(input: Tensor<4>) -> Tensor<4> {
    let [_, height, width, _] = input.dims();
    let whole = Geometry { kernel: [height, width], ..Geometry::POINTWISE };
    pool(input, Pooling::AverageWithPadding, whole)
}

/// Each channel of f32 `[batch, height, width, channels]` times its own value of `gate`, `[batch, 1, 1, channels]`.
///
/// # Panics
///
/// The shapes do not fit.
pub fn scale(input: Tensor<4>, gate: Tensor<4>) -> Tensor<4> {
    match Runner::of(&input) {
        Runner::Cpu => Tensor::from_dispatch(Dispatch::scale(input.into_dispatch(), gate.into_dispatch())),
        // A stock multiplication is one pass as it is.
        Runner::Gpu(_) | Runner::Twin => plain::scale(input, gate),
    }
}
