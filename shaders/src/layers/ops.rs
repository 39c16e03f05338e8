//! The layers as Burn backend extensions: one for the CPU, which works on packed weights where they lie, and one for GPUs.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::Shape;

use crate::cpu::{Chain, ConvSpec, Geometry, PackedConv, Pooling};
use crate::gpu::Tiles;

/// Layers on the CPU, of NHWC pictures, f32 `[batch, height, width, channels]`.
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

/// Layers on GPUs, of NHWC pictures, f32 or f16 `[batch, height, width, channels]`.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub(crate) trait FusedOps: Backend {
    /// `activation(convolution(input) + bias)`, with weights of [`crate::gpu::PackedConv`]. The output's channels are filled
    /// up to a multiple of four.
    #[fusion(dtype = input, shape = conv_shape(input, spec))]
    fn fused_conv(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: ConvSpec,
        tiles: Tiles,
    ) -> FloatTensor<Self>;

    /// `activation(convolution(input) + bias + residual)`; the residual has the output's shape.
    #[fusion(dtype = input, shape = conv_shape(input, spec))]
    fn fused_conv_add(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: ConvSpec,
        tiles: Tiles,
    ) -> FloatTensor<Self>;

    /// Pooling by a window; the channels are a multiple of four.
    #[fusion(dtype = input, shape = pool_shape(input, geometry))]
    fn fused_pool(input: FloatTensor<Self>, pooling: Pooling, geometry: Geometry) -> FloatTensor<Self>;
}

/// The shape of what a convolution makes on a GPU.
pub(super) fn conv_shape(input: &Shape, spec: &ConvSpec) -> Shape {
    let [count, height, width, _] = input.dims();
    let [height, width] = spec.geometry.output_size([height, width]);
    Shape::from([count, height, width, spec.outputs.next_multiple_of(4)])
}

/// The shape of what pooling makes.
pub(super) fn pool_shape(input: &Shape, geometry: &Geometry) -> Shape {
    let [count, height, width, channels] = input.dims();
    let [height, width] = geometry.output_size([height, width]);
    Shape::from([count, height, width, channels])
}
