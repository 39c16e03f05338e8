//! Converts the nodes of an ONNX graph into layers. It tracks the shape of each value, because padding, pooling and flattening
//! depend on shapes.

use std::collections::HashMap;

use onnx_ir::Node;
use onnx_ir::ir::Argument;
use onnx_ir::node::batch_norm::BatchNormConfig;
use onnx_ir::node::pad::{ConstantValueInput, PadInput, PadMode};
use onnx_ir::node::reduce::ReduceAxes;

use kiln_ops::{Activation, Pooling};

use crate::graph::Graph;
use crate::network::{Layer, LayerKind, Network, Value};
use crate::node_parameters::{activation, batch_norm, convolution, matrix, window};
use crate::report::{Unfusable, describe};

/// Converts a graph into layers that are not fused yet. `size` is the height and width of the image.
///
/// # Errors
///
/// The first node that no layer implements.
pub fn lower(graph: &Graph, size: [usize; 2]) -> Result<Network, Unfusable> {
    let graph = &graph.0;
    let ([input], [output]) = (graph.inputs.as_slice(), graph.outputs.as_slice()) else {
        return Err(Unfusable::Output);
    };
    let mut lowering = Lowering::default();
    let first = lowering.define(&input.name, Shape { channels: 3, size }, None);
    for node in &graph.nodes {
        lowering.node(node).ok_or_else(|| Unfusable::node(node))?;
    }
    let last = *lowering.values.get(&output.name).ok_or(Unfusable::Output)?;
    let shape = lowering.shapes[last];
    if shape.size != [1, 1] {
        return Err(Unfusable::Output);
    }
    let classes = shape.channels;
    Ok(Network { layers: lowering.layers, image_size: size, input: first, output: last, classes })
}

/// Channels, height and width of a value. The batch is dynamic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    channels: usize,
    size: [usize; 2],
}

#[derive(Default)]
struct Lowering {
    layers: Vec<Layer>,
    /// By value.
    shapes: Vec<Shape>,
    /// By value: the layer that produces it; `None` for the input.
    producers: Vec<Option<usize>>,
    /// By the names of the ONNX graph.
    values: HashMap<String, Value>,
}

impl Lowering {
    fn define(&mut self, name: &str, shape: Shape, producer: Option<usize>) -> Value {
        let value = self.shapes.len();
        self.shapes.push(shape);
        self.producers.push(producer);
        self.values.insert(name.to_string(), value);
        value
    }

    fn input(&self, argument: &Argument) -> Option<(Value, Shape)> {
        let value = *self.values.get(&argument.name)?;
        Some((value, self.shapes[value]))
    }

    fn add(&mut self, node: &Node, inputs: Vec<Value>, shape: Shape, kind: LayerKind) {
        let output = self.define(&node.outputs()[0].name, shape, Some(self.layers.len()));
        self.layers.push(Layer { node: describe(node), output, inputs, kind });
    }

    /// Gives a value the name of a node's output as well.
    fn alias(&mut self, node: &Node, value: Value) {
        self.values.insert(node.outputs()[0].name.clone(), value);
    }

    /// Adds the layer of a node; `None` if no layer implements the node.
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
                self.add(node, one, shape, LayerKind::Conv(conv));
            }
            Node::Linear(linear) if shape.size == [1, 1] => {
                let conv = matrix(node, shape.channels, linear.config.transpose_weight)?;
                let shape = Shape { channels: conv.outputs, ..shape };
                self.add(node, one, shape, LayerKind::Conv(conv));
            }
            Node::Gemm(gemm) if shape.size == [1, 1] => {
                let c = &gemm.config;
                let is_supported = c.alpha == 1.0 && c.beta == 1.0 && c.trans_a == 0;
                let conv = is_supported.then(|| matrix(node, shape.channels, c.trans_b != 0))??;
                let shape = Shape { channels: conv.outputs, ..shape };
                self.add(node, one, shape, LayerKind::Conv(conv));
            }
            Node::MaxPool2d(pool) => {
                let c = &pool.config;
                let is_supported = c.dilation == [1, 1] && !c.ceil_mode && node.outputs().len() == 1;
                let geometry = window(&c.auto_pad, &c.padding, shape.size, c.kernel_size, c.strides)?;
                let size = is_supported.then(|| geometry.checked_output_size(shape.size))??;
                self.add(node, one, Shape { size, ..shape }, LayerKind::Pool(Pooling::Max, geometry));
            }
            Node::AveragePool2d(pool) => {
                let c = &pool.config;
                let is_supported = c.dilation == [1, 1] && !c.ceil_mode;
                let geometry = window(&c.auto_pad, &c.padding, shape.size, c.kernel_size, c.strides)?;
                let size = is_supported.then(|| geometry.checked_output_size(shape.size))??;
                let kind = if c.count_include_pad { Pooling::AverageWithPadding } else { Pooling::Average };
                self.add(node, one, Shape { size, ..shape }, LayerKind::Pool(kind, geometry));
            }
            Node::GlobalAveragePool(_) => {
                self.add(node, one, Shape { size: [1, 1], ..shape }, LayerKind::GlobalAveragePool);
            }
            Node::ReduceMean(reduce) if matches!(&reduce.config.axes, ReduceAxes::Static(axes) if *axes == [2, 3]) => {
                self.add(node, one, Shape { size: [1, 1], ..shape }, LayerKind::GlobalAveragePool);
            }
            Node::BatchNormalization(norm) => {
                let BatchNormConfig::Static(config) = &norm.config else { return None };
                let [factor, summand] = batch_norm(node, shape.channels, config.epsilon as f32)?;
                self.add(node, one, shape, LayerKind::Affine { factor, summand });
            }
            Node::Pad(pad) => {
                let (PadInput::Static(pads), ConstantValueInput::Static(0.0), PadMode::Constant) =
                    (&pad.config.pads, &pad.config.constant_value, &pad.config.mode)
                else {
                    return None;
                };
                let [(0, 0), (0, 0), (top, bottom), (left, right)] = pads[..] else { return None };
                // A size that overflows is not an image.
                let along = |size: usize, before: usize, after: usize| size.checked_add(before)?.checked_add(after);
                let size = [along(shape.size[0], top, bottom)?, along(shape.size[1], left, right)?];
                self.add(node, one, Shape { size, ..shape }, LayerKind::Pad([top, left, bottom, right]));
            }
            Node::Add(_) | Node::Mul(_) => return self.binary(node, value, shape),
            Node::Flatten(_) | Node::Reshape(_) | Node::Squeeze(_) | Node::Unsqueeze(_) => {
                // With one pixel, only the number of axes changes, which is fixed in NHWC.
                (shape.size == [1, 1]).then(|| self.alias(node, value))?;
            }
            Node::Identity(_) | Node::Dropout(_) => self.alias(node, value),
            other => self.add(node, one, shape, LayerKind::Activation(activation(other)?)),
        }
        Some(())
    }

    /// Adds a sum or product of two values, neither of which is constant.
    fn binary(&mut self, node: &Node, left: Value, left_shape: Shape) -> Option<()> {
        let (right, right_shape) = self.input(node.inputs().get(1)?)?;
        if matches!(node, Node::Add(_)) {
            (left_shape == right_shape).then(|| self.add(node, vec![left, right], left_shape, LayerKind::Add))?;
            return Some(());
        }
        let gates = |big: Shape, small: Shape| big.channels == small.channels && small.size == [1, 1];
        // x * hard_sigmoid(x): exporters write HardSwish so for old operator sets.
        let sixth = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
        for (x, gate, shape, gate_shape) in
            [(left, right, left_shape, right_shape), (right, left, right_shape, left_shape)]
        {
            let producer = self.producers[gate].map(|index| &self.layers[index]);
            let is_swish = producer.is_some_and(
                |layer| matches!(&layer.kind, LayerKind::Activation(a) if *a == sixth && layer.inputs == [x]),
            );
            if is_swish {
                // Nothing reads the gate's own layer any more; a pass removes it.
                self.add(node, vec![x], shape, LayerKind::Activation(Activation::HardSwish));
                return Some(());
            }
            if gates(shape, gate_shape) {
                self.add(node, vec![x, gate], shape, LayerKind::Scale);
                return Some(());
            }
        }
        None
    }
}
