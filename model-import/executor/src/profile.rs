//! The time of each step of a network, and its arithmetic.

use std::fmt::Debug;
use std::time::Duration;

use kiln_graph::{Conv, LayerKind, TensorOp};

/// One step of a network, timed.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// The operation with its parameters, as in `conv 3x3 64->128 /2`.
    pub step: String,
    /// The shortest time of the runs.
    pub time: Duration,
    /// Multiplications and additions of the direct sums of convolutions and products; 0 for other operations. Winograd's algorithm
    /// executes fewer.
    pub operations: u64,
}

/// The name of a step, and how many operations it has. It is taken from the layer, whose weights are packed later.
#[derive(Clone, Debug)]
pub(crate) struct StepInfo {
    pub(crate) name: String,
    cost: Cost,
}

/// How the number of operations follows from the shapes.
#[derive(Clone, Copy, Debug)]
enum Cost {
    /// None that count.
    Free,
    /// So many for each value of the output.
    PerOutput(u64),
    /// Two for each value of the output and of the sum, whose length is the last axis of the first input.
    Product,
    /// Convolutions in a row: so many for each pixel of the input, and for each pixel of the output.
    Bottleneck { input: u64, output: u64 },
}

impl StepInfo {
    pub(crate) fn new(kind: &LayerKind) -> Self {
        let (name, cost) = match kind {
            LayerKind::Conv(conv) => (conv_name(conv), Cost::PerOutput(per_output(conv))),
            LayerKind::InvertedBottleneck(convs) => {
                let [first, depthwise, last] = &**convs;
                let output = per_pixel(depthwise) + per_pixel(last);
                let cost = Cost::Bottleneck { input: per_input_pixel(first), output };
                (format!("bottleneck {}, {}, {}", conv_name(first), conv_name(depthwise), conv_name(last)), cost)
            }
            LayerKind::ExpandedDepthwise(convs) => {
                let [first, depthwise] = &**convs;
                let cost = Cost::Bottleneck { input: per_input_pixel(first), output: per_pixel(depthwise) };
                (format!("{}, {}", conv_name(first), conv_name(depthwise)), cost)
            }
            LayerKind::Pool(pooling, geometry) => {
                let [height, width] = geometry.kernel;
                (format!("{pooling:?} pool {height}x{width}"), Cost::Free)
            }
            LayerKind::GlobalAveragePool => ("global average pool".to_string(), Cost::Free),
            LayerKind::Scale => ("scale channels".to_string(), Cost::Free),
            LayerKind::Activation(_) => ("activation".to_string(), Cost::Free),
            LayerKind::Add => ("add".to_string(), Cost::Free),
            LayerKind::Pad(_) => ("pad".to_string(), Cost::Free),
            LayerKind::Affine { .. } => ("affine".to_string(), Cost::Free),
            LayerKind::Constant(_) => ("constant".to_string(), Cost::Free),
            LayerKind::Tensor(TensorOp::MatMul) => ("matmul".to_string(), Cost::Product),
            LayerKind::Tensor(op) => (variant_name(op).to_lowercase(), Cost::Free),
        };
        Self { name, cost }
    }

    /// The operations of a run with these shapes.
    pub(crate) fn operations(&self, input: &[usize], output: &[usize]) -> u64 {
        let values = |shape: &[usize]| shape.iter().product::<usize>() as u64;
        let pixels = |shape: &[usize]| values(&shape[..shape.len().saturating_sub(1)]);
        match self.cost {
            Cost::Free => 0,
            Cost::PerOutput(each) => each * values(output),
            Cost::Product => 2 * values(output) * input.last().map_or(0, |k| *k as u64),
            Cost::Bottleneck { input: before, output: after } => before * pixels(input) + after * pixels(output),
        }
    }
}

fn conv_name(conv: &Conv) -> String {
    let Conv { inputs, outputs, groups, geometry, dilation, activation, .. } = conv;
    let ([height, width], [stride, _]) = (geometry.kernel, geometry.stride);
    let mut name = format!("conv {height}x{width} {inputs}->{outputs}");
    if stride > 1 {
        name += &format!(" /{stride}");
    }
    if *groups > 1 {
        name += &format!(" groups {groups}");
    }
    if *dilation != [1, 1] {
        name += &format!(" dilation {}x{}", dilation[0], dilation[1]);
    }
    if *activation != kiln_ops::Activation::Identity {
        name += &format!(" {}", variant_name(activation));
    }
    name
}

/// The name of a variant, without its fields.
fn variant_name(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_string()
}

/// Multiplications and additions for each pixel of the output.
fn per_pixel(conv: &Conv) -> u64 {
    per_output(conv) * conv.outputs as u64
}

/// Multiplications and additions for each pixel of the input.
fn per_input_pixel(conv: &Conv) -> u64 {
    let [down, right] = conv.geometry.stride;
    per_pixel(conv) / (down * right) as u64
}

/// Multiplications and additions for each value of the output.
fn per_output(conv: &Conv) -> u64 {
    let [height, width] = conv.geometry.kernel;
    (2 * conv.inputs / conv.groups * height * width) as u64
}
