//! One step of a program, with its weights packed for the device.

use burn::backend::DispatchTensor;
use burn::tensor::{Device, Tensor};
use kiln_graph::{Conv, LayerKind};
use kiln_kernels::layers::{self, tensor};
use kiln_ops::{Activation, Geometry, Pooling};

use crate::cpu_ops::{self, CpuOp};
use crate::tensor_ops::{self, Constant, GeneralConv};

/// A layer on a device.
#[derive(Debug)]
pub(crate) enum Step {
    /// A convolution with a fused kernel.
    Conv(Box<layers::Conv>),
    /// A convolution over the last axis of a tensor of any rank.
    Pointwise(Box<layers::Conv>, usize),
    /// A convolution without a fused kernel.
    GeneralConv(Box<GeneralConv>),
    InvertedBottleneck(Box<layers::InvertedBottleneck>),
    ExpandedDepthwise(Box<layers::ExpandedDepthwise>),
    Pool(Pooling, Geometry),
    GlobalAveragePool,
    Scale,
    Activation(Activation),
    Add,
    Pad([usize; 4]),
    /// Factor and summand for each element of the last axis, where they are not 1 and not 0.
    Affine(Option<Constant>, Option<Constant>),
    Tensor(tensor_ops::PreparedOp),
    /// A convolution of the CPU kernels for any groups, window and dilation.
    CpuConv(Box<layers::PackedGeneralConv>),
    /// An operation of the CPU kernels on tensors of any rank.
    Cpu(CpuOp),
}

impl Step {
    /// Packs the weights of a layer.
    ///
    /// # Panics
    ///
    /// Panics for constants, which are no steps.
    pub(crate) fn new(kind: LayerKind, device: &Device) -> Self {
        match kind {
            LayerKind::Conv(conv) if conv.is_dense() && conv.geometry.is_pointwise() => {
                let outputs = conv.outputs;
                Self::Pointwise(Box::new(kernel_conv(conv, device)), outputs)
            }
            LayerKind::Conv(conv) if conv.has_kernel() => Self::Conv(Box::new(kernel_conv(conv, device))),
            LayerKind::Conv(conv) if tensor::runs_on(device) => Self::CpuConv(Box::new(cpu_ops::pack(&conv))),
            LayerKind::Conv(conv) => Self::GeneralConv(Box::new(GeneralConv::new(conv, device))),
            LayerKind::InvertedBottleneck(convs) => {
                let [first, depthwise, last] = (*convs).map(|conv| kernel_conv(conv, device));
                Self::InvertedBottleneck(Box::new(layers::InvertedBottleneck::from_convs(first, depthwise, last)))
            }
            LayerKind::ExpandedDepthwise(convs) => {
                let [first, depthwise] = (*convs).map(|conv| kernel_conv(conv, device));
                Self::ExpandedDepthwise(Box::new(layers::ExpandedDepthwise::from_convs(first, depthwise)))
            }
            LayerKind::Pool(pooling, geometry) => Self::Pool(pooling, geometry),
            LayerKind::GlobalAveragePool => Self::GlobalAveragePool,
            LayerKind::Scale => Self::Scale,
            kind if tensor::runs_on(device) && CpuOp::has(&kind) => Self::Cpu(CpuOp::new(kind)),
            LayerKind::Activation(activation) => Self::Activation(activation),
            LayerKind::Add => Self::Add,
            LayerKind::Pad(sides) => Self::Pad(sides),
            LayerKind::Affine { factor, summand } => {
                let unless = |neutral: f32, values: Vec<f32>| {
                    let is_neutral = values.iter().all(|value| *value == neutral);
                    (!is_neutral).then(|| Constant::row(values, device))
                };
                Self::Affine(unless(1.0, factor), unless(0.0, summand))
            }
            LayerKind::Tensor(op) => Self::Tensor(tensor_ops::PreparedOp::new(op, device)),
            LayerKind::Constant(_) => panic!("a constant is no step"),
        }
    }

    /// Runs the step on a batch of `images`.
    pub(crate) fn run(&self, inputs: Vec<DispatchTensor>, images: usize) -> DispatchTensor {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("a layer has all its inputs");
        match self {
            Self::Conv(conv) => {
                let (input, residual) = (image(next()), inputs.next().map(image));
                conv.forward(input, residual).into_dispatch()
            }
            Self::Pointwise(conv, outputs) => {
                let input = next();
                let mut shape = tensor_ops::shape(&input);
                let rows = |tensor: DispatchTensor| {
                    let shape = tensor_ops::shape(&tensor);
                    let width = *shape.last().expect("a product has an axis");
                    let rows: usize = shape[..shape.len() - 1].iter().product();
                    image(tensor_ops::reshape(tensor, &[1, 1, rows, width]))
                };
                let output = conv.forward(rows(input), inputs.next().map(rows)).into_dispatch();
                *shape.last_mut().expect("a product has an axis") = *outputs;
                tensor_ops::reshape(output, &shape)
            }
            Self::GeneralConv(conv) => {
                let (input, residual) = (next(), inputs.next());
                conv.run(input, residual)
            }
            Self::InvertedBottleneck(block) => {
                let (input, residual) = (image(next()), inputs.next().map(image));
                block.forward(input, residual).into_dispatch()
            }
            Self::ExpandedDepthwise(convs) => convs.forward(image(next())).into_dispatch(),
            Self::Pool(pooling, geometry) => layers::pool(image(next()), *pooling, *geometry).into_dispatch(),
            Self::GlobalAveragePool => layers::global_average_pool(image(next())).into_dispatch(),
            Self::Scale => layers::scale(image(next()), image(next())).into_dispatch(),
            Self::Activation(activation) => tensor_ops::activate(next(), *activation),
            Self::Add => tensor_ops::add(next(), next()),
            Self::Pad([top, left, bottom, right]) => {
                tensor_ops::pad(next(), &[[0, 0], [*top, *bottom], [*left, *right], [0, 0]], 0.0)
            }
            Self::Affine(factor, summand) => tensor_ops::affine(next(), factor.as_ref(), summand.as_ref()),
            Self::CpuConv(conv) => {
                let (input, residual) = (next(), inputs.next());
                tensor::general_conv(input, residual, conv)
            }
            Self::Cpu(op) => op.run(inputs.collect(), images),
            Self::Tensor(op) => op.run(inputs.collect(), images),
        }
    }
}

fn image(tensor: DispatchTensor) -> Tensor<4> {
    Tensor::from_dispatch(tensor)
}

fn kernel_conv(conv: Conv, device: &Device) -> layers::Conv {
    let spec = layers::ConvSpec {
        inputs: conv.inputs,
        outputs: conv.outputs,
        geometry: conv.geometry,
        depthwise: conv.is_depthwise(),
        activation: conv.activation,
    };
    layers::Conv::from_values(spec, conv.weight, conv.bias, device)
}
