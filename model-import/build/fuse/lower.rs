//! ONNX nodes -> layers. Shapes are followed on the way, so that what depends on them is known. What a node holds apart
//! from its inputs is read in `parameters.rs`.

use std::collections::HashMap;

use onnx_ir::ir::Argument;
use onnx_ir::node::batch_norm::BatchNormConfig;
use onnx_ir::node::pad::{ConstantValueInput, PadInput, PadMode};
use onnx_ir::node::reduce::ReduceAxes;
use onnx_ir::{Node, OnnxGraph};

use super::layer::{Activation, Kind, Layer, Network, Pooling, Value};
use super::obstacle::Obstacle;
use super::parameters::{activation, batch_norm, convolution, matrix, window};

/// The graph's layers, not fused yet, or the first node that there is no layer for.
pub fn lower(graph: &OnnxGraph, size: [usize; 2]) -> Result<Network, Obstacle> {
    let ([input], [output]) = (graph.inputs.as_slice(), graph.outputs.as_slice()) else {
        return Err(Obstacle::result());
    };
    let mut lowering = Lowering::default();
    let first = lowering.value(&input.name, Shape { channels: 3, size });
    for node in &graph.nodes {
        lowering.node(node).ok_or_else(|| Obstacle::at(node))?;
    }
    let last = *lowering.values.get(&output.name).ok_or_else(Obstacle::result)?;
    let shape = lowering.shapes[last];
    let is_one_row = shape.size == [1, 1];
    let network = Network { layers: lowering.layers, size, input: first, output: last, outputs: shape.channels };
    is_one_row.then_some(network).ok_or_else(Obstacle::result)
}

/// A value's channels, height and width; the batch goes without saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    channels: usize,
    size: [usize; 2],
}

#[derive(Default)]
struct Lowering {
    layers: Vec<Layer>,
    shapes: Vec<Shape>,
    values: HashMap<String, Value>,
}

impl Lowering {
    fn value(&mut self, name: &str, shape: Shape) -> Value {
        self.shapes.push(shape);
        self.values.insert(name.to_string(), self.shapes.len() - 1);
        self.shapes.len() - 1
    }

    fn input(&self, argument: &Argument) -> Option<(Value, Shape)> {
        let value = *self.values.get(&argument.name)?;
        Some((value, self.shapes[value]))
    }

    fn add(&mut self, node: &Node, inputs: Vec<Value>, shape: Shape, kind: Kind) {
        let output = self.value(&node.outputs()[0].name, shape);
        self.layers.push(Layer { output, inputs, kind });
    }

    /// Another name for the same value.
    fn alias(&mut self, node: &Node, value: Value) {
        self.values.insert(node.outputs()[0].name.clone(), value);
    }

    fn node(&mut self, node: &Node) -> Option<()> {
        if matches!(node, Node::Constant(_)) {
            return Some(());
        }
        let (value, shape) = self.input(node.inputs().first()?)?;
        let one = vec![value];
        match node {
            Node::Conv2d(conv) => {
                let c = &conv.config;
                let geometry = window(&c.auto_pad, &c.padding, shape.size, c.kernel_size, c.stride)?;
                let conv = convolution(node, shape.channels, c.groups, c.dilation, geometry)?;
                let shape = Shape { channels: conv.outputs, size: geometry.checked_output_size(shape.size)? };
                self.add(node, one, shape, Kind::Conv(conv));
            }
            Node::Linear(linear) if shape.size == [1, 1] => {
                let conv = matrix(node, shape.channels, linear.config.transpose_weight)?;
                let shape = Shape { channels: conv.outputs, ..shape };
                self.add(node, one, shape, Kind::Conv(conv));
            }
            Node::Gemm(gemm) if shape.size == [1, 1] => {
                let c = &gemm.config;
                let plain = c.alpha == 1.0 && c.beta == 1.0 && c.trans_a == 0;
                let conv = plain.then(|| matrix(node, shape.channels, c.trans_b != 0))??;
                let shape = Shape { channels: conv.outputs, ..shape };
                self.add(node, one, shape, Kind::Conv(conv));
            }
            Node::MaxPool2d(pool) => {
                let c = &pool.config;
                let plain = c.dilation == [1, 1] && !c.ceil_mode && node.outputs().len() == 1;
                let geometry = window(&c.auto_pad, &c.padding, shape.size, c.kernel_size, c.strides)?;
                let size = plain.then(|| geometry.checked_output_size(shape.size))??;
                self.add(node, one, Shape { size, ..shape }, Kind::Pool(Pooling::Max, geometry));
            }
            Node::AveragePool2d(pool) => {
                let c = &pool.config;
                let plain = c.dilation == [1, 1] && !c.ceil_mode;
                let geometry = window(&c.auto_pad, &c.padding, shape.size, c.kernel_size, c.strides)?;
                let size = plain.then(|| geometry.checked_output_size(shape.size))??;
                let kind = if c.count_include_pad { Pooling::AverageWithPadding } else { Pooling::Average };
                self.add(node, one, Shape { size, ..shape }, Kind::Pool(kind, geometry));
            }
            Node::GlobalAveragePool(_) => {
                self.add(node, one, Shape { size: [1, 1], ..shape }, Kind::GlobalAveragePool);
            }
            Node::ReduceMean(reduce) if matches!(&reduce.config.axes, ReduceAxes::Static(axes) if *axes == [2, 3]) => {
                self.add(node, one, Shape { size: [1, 1], ..shape }, Kind::GlobalAveragePool);
            }
            Node::BatchNormalization(norm) => {
                let BatchNormConfig::Static(config) = &norm.config else { return None };
                let [factor, summand] = batch_norm(node, shape.channels, config.epsilon as f32)?;
                self.add(node, one, shape, Kind::Affine { factor, summand });
            }
            Node::Pad(pad) => {
                let (PadInput::Static(pads), ConstantValueInput::Static(0.0), PadMode::Constant) =
                    (&pad.config.pads, &pad.config.constant_value, &pad.config.mode)
                else {
                    return None;
                };
                let [(0, 0), (0, 0), (top, bottom), (left, right)] = pads[..] else { return None };
                // What overflows is no picture.
                let along = |size: usize, before: usize, after: usize| size.checked_add(before)?.checked_add(after);
                let size = [along(shape.size[0], top, bottom)?, along(shape.size[1], left, right)?];
                self.add(node, one, Shape { size, ..shape }, Kind::Pad([top, left, bottom, right]));
            }
            Node::Add(_) | Node::Mul(_) => return self.two(node, value, shape),
            Node::Flatten(_) | Node::Reshape(_) | Node::Squeeze(_) | Node::Unsqueeze(_) => {
                // With one pixel left, only the number of axes changes, which NHWC layers do not see.
                (shape.size == [1, 1]).then(|| self.alias(node, value))?;
            }
            Node::Identity(_) | Node::Dropout(_) => self.alias(node, value),
            other => self.add(node, one, shape, Kind::Activation(activation(other)?)),
        }
        Some(())
    }

    /// Sums and products of two values that were computed.
    fn two(&mut self, node: &Node, left: Value, left_shape: Shape) -> Option<()> {
        let (right, right_shape) = self.input(node.inputs().get(1)?)?;
        if matches!(node, Node::Add(_)) {
            (left_shape == right_shape).then(|| self.add(node, vec![left, right], left_shape, Kind::Add))?;
            return Some(());
        }
        let gates = |big: Shape, small: Shape| big.channels == small.channels && small.size == [1, 1];
        // x * hard_sigmoid(x), as exporters write HardSwish for old operator sets.
        let sixth = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
        for (x, gate, shape, gate_shape) in
            [(left, right, left_shape, right_shape), (right, left, right_shape, left_shape)]
        {
            let maker = self.layers.iter().find(|layer| layer.output == gate);
            let is_swish = maker
                .is_some_and(|maker| matches!(&maker.kind, Kind::Activation(a) if *a == sixth && maker.inputs == [x]));
            if is_swish {
                // The gate's own layer stays, unread; `merge` drops it.
                self.add(node, vec![x], shape, Kind::Activation(Activation::HardSwish));
                return Some(());
            }
            if gates(shape, gate_shape) {
                self.add(node, vec![x, gate], shape, Kind::Scale);
                return Some(());
            }
        }
        None
    }
}
