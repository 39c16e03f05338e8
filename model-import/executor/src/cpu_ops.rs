//! Operations on tensors of any rank by the CPU kernels of `kiln-kernels`.

use burn::backend::DispatchTensor;
use kiln_graph::{Conv, LayerKind, TensorOp};
use kiln_kernels::layers::tensor::{self, SliceAxis};
use kiln_kernels::layers::{GeneralConvSpec, PackedGeneralConv};
use kiln_ops::Binary;

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
        geometry: conv.geometry,
        dilation: conv.dilation,
        activation: conv.activation,
    };
    tensor::pack_general_conv(spec, &conv.weight, &conv.bias)
}

impl CpuOp {
    /// Whether the kernels have an operation.
    pub(crate) fn has(kind: &LayerKind) -> bool {
        match kind {
            LayerKind::Tensor(TensorOp::DilatedMaxPool { .. } | TensorOp::ConvTranspose(_)) => false,
            LayerKind::Activation(_)
            | LayerKind::Add
            | LayerKind::Pad(_)
            | LayerKind::Affine { .. }
            | LayerKind::Tensor(_) => true,
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
            LayerKind::Activation(activation) => {
                let input = next();
                return match activation.function() {
                    Some(function) => tensor::unary(input, function),
                    None => input,
                };
            }
            LayerKind::Add => {
                let left = next();
                return tensor::binary(left, next(), Binary::Add);
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
            TensorOp::Unary(function) => tensor::unary(next(), *function),
            TensorOp::Binary(op) => {
                let left = next();
                tensor::binary(left, next(), *op)
            }
            TensorOp::Where => {
                let (condition, yes) = (next(), next());
                tensor::select(condition, yes, next())
            }
            TensorOp::Reduce { reduction, axes, .. } => tensor::reduce(next(), *reduction, axes, true),
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
