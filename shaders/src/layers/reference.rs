//! The reference implementation of the layers in Burn's tensor operations. It runs on every backend and with every compiler,
//! but is slower than the kernels.

use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Tensor, activation};

use crate::cpu::{Activation, ConvSpec, Geometry, Pooling};

/// Computes `activation(convolution(input) + bias + residual)`. `weight` is `[outputs, inputs / groups, height, width]`.
pub(super) fn conv(
    input: Tensor<4>,
    residual: Option<Tensor<4>>,
    spec: &ConvSpec,
    weight: Tensor<4>,
    bias: Tensor<1>,
) -> Tensor<4> {
    let groups = if spec.depthwise { spec.inputs } else { 1 };
    let options = ConvOptions::new(spec.geometry.stride, [0, 0], [1, 1], groups);
    let padded = pad(input.permute([0, 3, 1, 2]), &spec.geometry);
    let output = conv2d(padded, weight, Some(bias), options).permute([0, 2, 3, 1]);
    let output = match residual {
        Some(residual) => output + residual,
        None => output,
    };
    activate(output, spec.activation)
}

fn activate(x: Tensor<4>, function: Activation) -> Tensor<4> {
    let hard_sigmoid = |x: Tensor<4>, alpha: f32, beta: f32| (x * alpha + beta).clamp(0.0, 1.0);
    match function {
        Activation::Identity => x,
        Activation::Clamp { low, high } if high == f32::INFINITY => x.clamp_min(low),
        Activation::Clamp { low, high } => x.clamp(low, high),
        Activation::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha, beta),
        Activation::HardSwish => x.clone() * hard_sigmoid(x, 1.0 / 6.0, 0.5),
        Activation::LeakyRelu { slope } => activation::leaky_relu(x, f64::from(slope)),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Swish => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => activation::gelu_approximate(x),
    }
}

/// Pools NHWC images by a window.
pub(super) fn pool(input: Tensor<4>, pooling: Pooling, geometry: &Geometry) -> Tensor<4> {
    let input = input.permute([0, 3, 1, 2]);
    let Geometry { kernel, stride, before: [top, left], after: [bottom, right] } = *geometry;
    let padding = [(top, bottom), (left, right)];
    let output = match pooling {
        Pooling::Max => max_pool2d(input, MaxPoolOptions::new(kernel).with_stride(stride).with_padding_pairs(padding)),
        average => {
            let options = AvgPoolOptions::new(kernel).with_stride(stride);
            let count_include_pad = average == Pooling::AverageWithPadding;
            avg_pool2d(input, options.with_padding_pairs(padding).with_count_include_pad(count_include_pad))
        }
    };
    output.permute([0, 2, 3, 1])
}

/// Multiplies each channel of `input` by its own value of `gate`.
pub(super) fn scale(input: Tensor<4>, gate: Tensor<4>) -> Tensor<4> {
    input * gate
}

/// Pads NCHW images with zeros.
fn pad(input: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    let Geometry { before: [top, left], after: [bottom, right], .. } = *geometry;
    if [top, left, bottom, right] == [0; 4] {
        return input;
    }
    input.pad((left, right, top, bottom), PadMode::Constant(0.0))
}
