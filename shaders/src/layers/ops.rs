//! The layers as a Burn backend extension. Flex alone runs them; other devices get the plain twins.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use crate::cpu::{Chain, Geometry, PackedConv, Pooling};

/// Layers on NHWC pictures, f32 `[batch, height, width, channels]`.
#[backend_extension(Flex)]
pub(crate) trait LayerOps: Backend {
    /// `activation(convolution(input) + bias)`.
    fn conv(input: FloatTensor<Self>, conv: &PackedConv) -> FloatTensor<Self>;

    /// `activation(convolution(input) + bias + residual)`.
    fn conv_add(input: FloatTensor<Self>, residual: FloatTensor<Self>, conv: &PackedConv) -> FloatTensor<Self>;

    /// Three convolutions.
    fn chain(input: FloatTensor<Self>, chain: Chain<'_>) -> FloatTensor<Self>;

    /// Three convolutions; the residual goes to the last.
    fn chain_add(input: FloatTensor<Self>, residual: FloatTensor<Self>, chain: Chain<'_>) -> FloatTensor<Self>;

    /// Pooling by a window.
    fn pool(input: FloatTensor<Self>, pooling: Pooling, geometry: Geometry) -> FloatTensor<Self>;

    /// Each channel of `input` times its own value of `gate`, `[batch, 1, 1, channels]`.
    fn scale(input: FloatTensor<Self>, gate: FloatTensor<Self>) -> FloatTensor<Self>;
}
