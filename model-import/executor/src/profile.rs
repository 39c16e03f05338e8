//! The time of each step of a network, and its arithmetic.

use std::fmt::Write;
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

/// What a profile says of a step, known before its weights are packed.
#[derive(Clone, Debug)]
pub(crate) struct StepInfo {
    pub(crate) name: String,
    cost: Cost,
}

/// Keeps the first word of a text, and refuses the rest.
struct FirstWord(String);

impl Write for FirstWord {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = text.find(|c: char| !c.is_alphanumeric());
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        if end.is_some() { Err(std::fmt::Error) } else { Ok(()) }
    }
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
            LayerKind::Tensor(op) => {
                let mut name = FirstWord(String::new());
                // The error ends the text before the fields of the variant, which may be long.
                let _ = write!(name, "{op:?}");
                (name.0.to_lowercase(), Cost::Free)
            }
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
        let text = format!("{activation:?}");
        name += &format!(" {}", text.split(' ').next().unwrap_or_default());
    }
    name
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
