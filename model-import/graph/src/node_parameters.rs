//! Constants, attributes and padding of ONNX nodes. Each function returns `None` for what the layers do not support.

use onnx_ir::Node;
use onnx_ir::ir::TensorDataExt;
use onnx_ir::node::clip::ClipInput;
use onnx_ir::node::padding::{AutoPad, PaddingConfig2d};

use kiln_ops::{Activation, Geometry};

use crate::network::Conv;

/// The elementwise function of a node.
pub(crate) fn activation(node: &Node) -> Option<Activation> {
    let bound = |input: &Option<ClipInput>, missing: f32| match input {
        None => Some(missing),
        Some(ClipInput::Static(value)) => Some(*value as f32),
        Some(ClipInput::Runtime(_)) => None,
    };
    match node {
        Node::Relu(_) => Some(Activation::Clamp { low: 0.0, high: f32::INFINITY }),
        Node::Clip(clip) => Some(Activation::Clamp {
            low: bound(&clip.config.min, f32::NEG_INFINITY)?,
            high: bound(&clip.config.max, f32::INFINITY)?,
        }),
        Node::HardSigmoid(node) => {
            Some(Activation::HardSigmoid { alpha: node.config.alpha as f32, beta: node.config.beta as f32 })
        }
        Node::HardSwish(_) => Some(Activation::HardSwish),
        _ => None,
    }
}

/// The values of a constant input.
fn floats(node: &Node, index: usize) -> Option<Vec<f32>> {
    node.inputs().get(index)?.value()?.to_f32_vec().ok()
}

/// The optional bias of a node, zeros if it has none.
fn bias(node: &Node, outputs: usize) -> Option<Vec<f32>> {
    match node.inputs().get(2) {
        Some(argument) if !argument.is_optional() => floats(node, 2).filter(|bias| bias.len() == outputs),
        _ => Some(vec![0.0; outputs]),
    }
}

/// A convolution of one group, or a depthwise one that has a kernel.
pub(crate) fn convolution(
    node: &Node,
    inputs: usize,
    groups: usize,
    dilation: [usize; 2],
    geometry: Geometry,
) -> Option<Conv> {
    let weight = floats(node, 1)?;
    let [height, width] = geometry.kernel;
    let window = inputs.checked_mul(height)?.checked_mul(width)?;
    let outputs = weight.len().checked_mul(groups)?.checked_div(window)?;
    let bias = bias(node, outputs)?;
    let conv = Conv { inputs, outputs, geometry, groups, dilation, activation: Activation::Identity, weight, bias };
    conv.has_kernel().then_some(conv)
}

/// Factors and summands of a batch norm, one for each channel.
pub(crate) fn batch_norm(node: &Node, channels: usize, epsilon: f32) -> Option<[Vec<f32>; 2]> {
    // onnx-ir 0.22.0 reads a missing epsilon as 0, but ONNX's default is 1e-5. No exporter writes 0.
    let epsilon = if epsilon == 0.0 { 1e-5 } else { epsilon };
    let per_channel = |index| floats(node, index).filter(|values| values.len() == channels);
    let (scale, bias, mean, variance) = (per_channel(1)?, per_channel(2)?, per_channel(3)?, per_channel(4)?);
    let factor: Vec<f32> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let summand = bias.iter().zip(&mean).zip(&factor).map(|((b, m), f)| b - m * f).collect();
    Some([factor, summand])
}

/// A matrix product as a pointwise convolution. The weights are `[outputs, inputs]` if `transposed`, else `[inputs, outputs]`.
pub(crate) fn matrix(node: &Node, inputs: usize, transposed: bool) -> Option<Conv> {
    let stored = floats(node, 1)?;
    let outputs = stored.len().checked_div(inputs)?;
    let weight = if transposed {
        stored
    } else {
        (0..outputs * inputs).map(|index| stored[index % inputs * outputs + index / inputs]).collect()
    };
    let bias = bias(node, outputs)?;
    let geometry = Geometry::POINTWISE;
    Some(Conv {
        inputs,
        outputs,
        geometry,
        groups: 1,
        dilation: [1, 1],
        activation: Activation::Identity,
        weight,
        bias,
    })
}

/// A window with its padding, by the ONNX specification of `auto_pad`.
pub(crate) fn window(
    auto: &AutoPad,
    explicit: &PaddingConfig2d,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
) -> Option<Geometry> {
    if stride.contains(&0) {
        return None;
    }
    let same = [0, 1].map(|axis| {
        let steps = size[axis].div_ceil(stride[axis]);
        (steps.saturating_sub(1) * stride[axis] + kernel[axis]).saturating_sub(size[axis])
    });
    let (smaller, larger) = (same.map(|total| total / 2), same.map(|total| total - total / 2));
    let [before, after] = match (auto, explicit) {
        (AutoPad::SameUpper, _) => [smaller, larger],
        (AutoPad::SameLower, _) => [larger, smaller],
        (AutoPad::NotSet, PaddingConfig2d::Explicit(top, left, bottom, right)) => [[*top, *left], [*bottom, *right]],
        (AutoPad::NotSet | AutoPad::Valid, _) => [[0, 0], [0, 0]],
    };
    Some(Geometry { kernel, stride, before, after })
}
