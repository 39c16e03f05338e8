//! Operations on tensors of any rank by the CPU kernels of `kiln-kernels`.

use burn::backend::DispatchTensor;
use kiln_graph::{Activation, Binary, Conv, LayerKind, Reduction, TensorOp, Unary};
use kiln_kernels::layers::tensor::{self, Function, Operation, SliceAxis};
use kiln_kernels::layers::{GeneralConvSpec, PackedGeneralConv};

use crate::step::{kernel_activation, kernel_geometry};
use crate::tensor_ops::{reshape, shape};

/// A layer that the CPU kernels run.
#[derive(Debug)]
pub(crate) struct CpuOp(LayerKind);

/// Packs a convolution.
pub(crate) fn pack(conv: &Conv) -> PackedGeneralConv {
    let spec = GeneralConvSpec {
        inputs: conv.inputs,
        outputs: conv.outputs,
        groups: conv.groups,
        geometry: kernel_geometry(&conv.geometry),
        dilation: conv.dilation,
        activation: kernel_activation(conv.activation),
    };
    tensor::pack_general_conv(spec, &conv.weight, &conv.bias)
}

impl CpuOp {
    /// Whether the kernels have an operation.
    pub(crate) fn has(kind: &LayerKind) -> bool {
        match kind {
            LayerKind::Activation(_) | LayerKind::Add | LayerKind::Pad(_) | LayerKind::Affine { .. } => true,
            LayerKind::Tensor(TensorOp::DilatedMaxPool { .. } | TensorOp::ConvTranspose(_)) => false,
            LayerKind::Tensor(TensorOp::Unary(function)) => kernel_function(*function).is_some(),
            LayerKind::Tensor(_) => true,
            _ => false,
        }
    }

    pub(crate) fn new(kind: LayerKind) -> Self {
        Self(kind)
    }

    /// Runs the operation on a batch of `images`.
    pub(crate) fn run(&self, inputs: Vec<DispatchTensor>, images: usize) -> DispatchTensor {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("an operation has all its inputs");
        let op = match &self.0 {
            LayerKind::Activation(activation) => return activate(next(), *activation),
            LayerKind::Add => {
                let left = next();
                return tensor::binary(left, next(), Operation::Add);
            }
            LayerKind::Pad([top, left, bottom, right]) => {
                return tensor::pad(next(), &[0, *top, *left, 0], &[0, *bottom, *right, 0], 0.0);
            }
            LayerKind::Affine { factor, summand } => return tensor::affine(next(), factor, summand, None),
            LayerKind::Tensor(op) => op,
            other => unreachable!("{other:?} is no operation of these kernels"),
        };
        let sizes = |dims: &[kiln_graph::Dim]| dims.iter().map(|dim| dim.at(images)).collect::<Vec<_>>();
        match op {
            TensorOp::Reshape(dims) => reshape(next(), &sizes(dims)),
            TensorOp::Permute(axes) => tensor::permute(next(), axes),
            TensorOp::Slice { axis, start, end, step } => {
                let input = next();
                let whole = shape(&input).into_iter().map(|size| SliceAxis { start: 0, step: 1, size });
                let mut axes: Vec<SliceAxis> = whole.collect();
                axes[*axis] = SliceAxis { start: *start, step: *step as isize, size: (end - start).div_ceil(*step) };
                tensor::slice(input, &axes)
            }
            TensorOp::Select { axis, indices } => tensor::select_indices(next(), *axis, indices),
            TensorOp::Expand(dims) => tensor::expand(next(), &sizes(dims)),
            TensorOp::Concat(axis) => tensor::concat(inputs.collect(), *axis),
            TensorOp::Pad { pads, value } => {
                let (before, after): (Vec<usize>, Vec<usize>) =
                    pads.iter().map(|[before, after]| (*before, *after)).unzip();
                tensor::pad(next(), &before, &after, *value)
            }
            TensorOp::Unary(function) => {
                let function = kernel_function(*function).expect("`has` was asked");
                tensor::unary(next(), function)
            }
            TensorOp::Binary(op) => {
                let left = next();
                tensor::binary(left, next(), kernel_operation(*op))
            }
            TensorOp::Where => {
                let (condition, yes) = (next(), next());
                tensor::select(condition, yes, next())
            }
            TensorOp::Reduce { reduction, axes, .. } => {
                let reduction = match reduction {
                    Reduction::Sum => tensor::Reduction::Sum,
                    Reduction::Mean => tensor::Reduction::Mean,
                    Reduction::Max => tensor::Reduction::Max,
                    Reduction::Min => tensor::Reduction::Min,
                    Reduction::Product => tensor::Reduction::Product,
                };
                tensor::reduce(next(), reduction, axes, true)
            }
            TensorOp::Softmax { axis, is_log, .. } => tensor::softmax(next(), *axis, *is_log),
            TensorOp::LayerNorm { epsilon, scale, bias } => tensor::layer_norm(next(), *epsilon, scale, bias),
            TensorOp::MatMul => {
                let left = next();
                tensor::matmul(left, next(), false)
            }
            other => unreachable!("{other:?} is no operation of these kernels"),
        }
    }
}

fn activate(x: DispatchTensor, activation: Activation) -> DispatchTensor {
    match kernel_activation(activation).function() {
        Some(function) => tensor::unary(x, function),
        None => x,
    }
}

fn kernel_function(function: Unary) -> Option<Function> {
    Some(match function {
        Unary::Abs => Function::Abs,
        Unary::Acos => Function::Acos,
        Unary::Acosh => Function::Acosh,
        Unary::Asin => Function::Asin,
        Unary::Asinh => Function::Asinh,
        Unary::Atan => Function::Atan,
        Unary::Atanh => Function::Atanh,
        Unary::Ceil => Function::Ceil,
        Unary::Cos => Function::Cos,
        Unary::Cosh => Function::Cosh,
        Unary::Erf => Function::Erf,
        Unary::Exp => Function::Exp,
        Unary::Floor => Function::Floor,
        Unary::Log => Function::Log,
        Unary::Neg => Function::Neg,
        Unary::Not => Function::Not,
        Unary::Reciprocal => Function::Reciprocal,
        Unary::Round => Function::Round,
        Unary::Sigmoid => Function::Sigmoid,
        Unary::Sign => Function::Sign,
        Unary::Sin => Function::Sin,
        Unary::Sinh => Function::Sinh,
        Unary::Softplus => Function::Softplus,
        Unary::Softsign => Function::Softsign,
        Unary::Sqrt => Function::Sqrt,
        Unary::Tan => Function::Tan,
        Unary::Tanh => Function::Tanh,
        Unary::Trunc => Function::Trunc,
        Unary::IsNan | Unary::IsInf => return None,
        Unary::Swish { alpha } => Function::Swish { alpha },
        Unary::Gelu => Function::Gelu,
        Unary::GeluTanh => Function::GeluTanh,
        Unary::Mish => Function::Mish,
        Unary::LeakyRelu { slope } => Function::LeakyRelu { slope },
        // The kernels multiply `alpha` by `gamma`, and the argument by `scale`.
        Unary::Elu { alpha, gamma, scale } => Function::Elu { alpha: alpha / gamma, gamma, scale: 1.0 / scale },
        Unary::ThresholdedRelu { alpha } => Function::ThresholdedRelu { alpha },
        Unary::Shrink { lambda, bias } => Function::Shrink { lambda, bias },
        Unary::Clamp { low, high } => Function::Clamp { low, high },
        Unary::HardSigmoid { alpha, beta } => Function::HardSigmoid { alpha, beta },
        Unary::Power(exponent) => Function::Power(exponent),
    })
}

fn kernel_operation(op: Binary) -> Operation {
    match op {
        Binary::Add => Operation::Add,
        Binary::Sub => Operation::Sub,
        Binary::Mul => Operation::Mul,
        Binary::Div => Operation::Div,
        Binary::Mod => Operation::Mod,
        Binary::Pow => Operation::Pow,
        Binary::Min => Operation::Min,
        Binary::Max => Operation::Max,
        Binary::PRelu => Operation::PRelu,
        Binary::Equal => Operation::Equal,
        Binary::Less => Operation::Less,
        Binary::LessOrEqual => Operation::LessOrEqual,
        Binary::Greater => Operation::Greater,
        Binary::GreaterOrEqual => Operation::GreaterOrEqual,
        Binary::And => Operation::And,
        Binary::Or => Operation::Or,
        Binary::Xor => Operation::Xor,
    }
}
