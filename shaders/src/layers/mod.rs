//! The layers of convolutional classifiers, fused and in NHWC, as generated networks call them.
//!
//! | layer | what it does |
//! |---|---|
//! | [`Conv`] | convolution, bias, residual and activation in one pass |
//! | [`Chain`] | dense, depthwise and pointwise convolution, band by band |
//! | [`pool`], [`global_average_pool`] | pooling |
//! | [`scale`] | a factor for each channel (squeeze and excite) |
//!
//! On the CPU they run the kernels of `cpu/`; on other devices their twins of stock tensor operations.

mod chain;
mod conv;
mod flex;
mod ops;
mod plain;

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::Tensor;

pub use crate::cpu::{Activation, ConvSpec, Geometry, Pooling};
pub use chain::Chain;
pub use conv::Conv;
pub(crate) use flex::filled;
use ops::LayerOps;

/// Whether the CPU kernels can work on this tensor.
fn runs_kernels(tensor: &Tensor<4>) -> bool {
    matches!(tensor.device().as_dispatch(), DispatchDevice::Flex(_))
}

/// Pools f32 `[batch, height, width, channels]` by a window.
///
/// # Panics
///
/// The window is larger than the padded picture.
pub fn pool(input: Tensor<4>, pooling: Pooling, geometry: Geometry) -> Tensor<4> {
    if !runs_kernels(&input) {
        return plain::pool(input, pooling, &geometry);
    }
    Tensor::from_dispatch(Dispatch::pool(input.into_dispatch(), pooling, geometry))
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
    if !runs_kernels(&input) {
        return plain::scale(input, gate);
    }
    Tensor::from_dispatch(Dispatch::scale(input.into_dispatch(), gate.into_dispatch()))
}
