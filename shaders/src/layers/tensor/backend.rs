//! The tensor operations as a Burn backend extension.

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchKindConversion, DispatchTensor, Flex, backend_extension};

use super::super::backend::{filled_tensor, values};
use super::shapes::{broadcast, split_at_axis, with_rank};
use crate::cpu::tensor::{self, Binary, MatmulSize, Reduction, SliceAxis, Unary};
use crate::cpu::{NhwcBatch, PackedGeneralConv};

/// Tensor operations on the CPU, on f32 tensors of any rank. The functions of the parent module describe them.
#[backend_extension(Flex)]
pub trait CpuTensorOps: Backend {
    /// Computes a function of each value.
    fn cpu_unary(input: FloatTensor<Self>, function: Unary) -> FloatTensor<Self>;

    /// Computes an operation on each pair of values.
    fn cpu_binary(a: FloatTensor<Self>, b: FloatTensor<Self>, operation: Binary) -> FloatTensor<Self>;

    /// Selects between two tensors.
    fn cpu_select(condition: FloatTensor<Self>, yes: FloatTensor<Self>, no: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Multiplies and adds along the last axis, and applies a function.
    fn cpu_affine(
        input: FloatTensor<Self>,
        factor: &[f32],
        summand: &[f32],
        function: Option<Unary>,
    ) -> FloatTensor<Self>;

    /// Normalises the last axis.
    fn cpu_layer_norm(input: FloatTensor<Self>, epsilon: f32, scale: &[f32], bias: &[f32]) -> FloatTensor<Self>;

    /// Computes the softmax over an axis.
    fn cpu_softmax(input: FloatTensor<Self>, axis: usize, log: bool) -> FloatTensor<Self>;

    /// Reduces some axes.
    fn cpu_reduce(input: FloatTensor<Self>, reduction: Reduction, axes: &[usize], keep_axes: bool)
    -> FloatTensor<Self>;

    /// Permutes the axes.
    fn cpu_permute(input: FloatTensor<Self>, permutation: &[usize]) -> FloatTensor<Self>;

    /// Joins tensors along an axis. The macro converts no lists of tensors, so `rest` is converted by the implementation.
    fn cpu_concat(first: FloatTensor<Self>, rest: Vec<DispatchTensor>, axis: usize) -> FloatTensor<Self>;

    /// Takes some positions of each axis.
    fn cpu_slice(input: FloatTensor<Self>, axes: &[SliceAxis]) -> FloatTensor<Self>;

    /// Takes some positions of one axis.
    fn cpu_select_indices(input: FloatTensor<Self>, axis: usize, indices: &[usize]) -> FloatTensor<Self>;

    /// Pads each axis.
    fn cpu_pad(input: FloatTensor<Self>, before: &[usize], after: &[usize], value: f32) -> FloatTensor<Self>;

    /// Repeats values along axes of size 1.
    fn cpu_expand(input: FloatTensor<Self>, shape: &[usize]) -> FloatTensor<Self>;

    /// Multiplies matrices.
    fn cpu_matmul(a: FloatTensor<Self>, b: FloatTensor<Self>, b_transposed: bool) -> FloatTensor<Self>;

    /// Runs a convolution.
    fn cpu_general_conv(input: FloatTensor<Self>, conv: &PackedGeneralConv) -> FloatTensor<Self>;

    /// Runs a convolution with a residual.
    fn cpu_general_conv_add(
        input: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        conv: &PackedGeneralConv,
    ) -> FloatTensor<Self>;
}

impl CpuTensorOps for Flex {
    fn cpu_unary(input: FlexTensor, function: Unary) -> FlexTensor {
        let input = input.to_contiguous();
        filled_tensor(shape_of(&input).to_vec(), |context, output| {
            tensor::unary(context, function, values(&input), output);
        })
    }

    fn cpu_binary(a: FlexTensor, b: FlexTensor, operation: Binary) -> FlexTensor {
        let (a, b) = (a.to_contiguous(), b.to_contiguous());
        let (shape, [a_shape, b_shape]) = broadcast([shape_of(&a), shape_of(&b)]);
        filled_tensor(shape.clone(), |context, output| {
            tensor::binary(context, operation, values(&a), &a_shape, values(&b), &b_shape, output, &shape);
        })
    }

    fn cpu_select(condition: FlexTensor, yes: FlexTensor, no: FlexTensor) -> FlexTensor {
        let [condition, yes, no] = [condition, yes, no].map(|tensor| tensor.to_contiguous());
        let (shape, shapes) = broadcast([shape_of(&condition), shape_of(&yes), shape_of(&no)]);
        filled_tensor(shape.clone(), |context, output| {
            let [condition, yes, no] =
                [(&condition, &shapes[0]), (&yes, &shapes[1]), (&no, &shapes[2])].map(|(t, s)| (values(t), &s[..]));
            tensor::select(context, condition, yes, no, output, &shape);
        })
    }

    fn cpu_affine(input: FlexTensor, factor: &[f32], summand: &[f32], function: Option<Unary>) -> FlexTensor {
        let input = input.to_contiguous();
        assert_eq!(shape_of(&input).last(), Some(&factor.len()), "factors for the last axis");
        filled_tensor(shape_of(&input).to_vec(), |context, output| {
            tensor::affine(context, values(&input), factor, summand, function, output);
        })
    }

    fn cpu_layer_norm(input: FlexTensor, epsilon: f32, scale: &[f32], bias: &[f32]) -> FlexTensor {
        let input = input.to_contiguous();
        assert_eq!(shape_of(&input).last(), Some(&scale.len()), "scales for the last axis");
        filled_tensor(shape_of(&input).to_vec(), |context, output| {
            tensor::layer_norm(context, values(&input), scale.len(), epsilon, scale, bias, output);
        })
    }

    fn cpu_softmax(input: FlexTensor, axis: usize, log: bool) -> FlexTensor {
        let input = input.to_contiguous();
        let [outer, size, inner] = split_at_axis(shape_of(&input), axis);
        filled_tensor(shape_of(&input).to_vec(), |context, output| {
            tensor::softmax(context, values(&input), outer, size, inner, log, output);
        })
    }

    fn cpu_reduce(input: FlexTensor, reduction: Reduction, axes: &[usize], keep_axes: bool) -> FlexTensor {
        let input = input.to_contiguous();
        let sizes = shape_of(&input).iter().copied().enumerate();
        let shape: Vec<usize> = if keep_axes {
            sizes.map(|(axis, size)| if axes.contains(&axis) { 1 } else { size }).collect()
        } else {
            sizes.filter(|(axis, _)| !axes.contains(axis)).map(|(_, size)| size).collect()
        };
        filled_tensor(shape, |context, output| {
            tensor::reduce(context, reduction, values(&input), shape_of(&input), axes, output);
        })
    }

    fn cpu_permute(input: FlexTensor, permutation: &[usize]) -> FlexTensor {
        let input = input.to_contiguous();
        let shape: Vec<usize> = permutation.iter().map(|axis| shape_of(&input)[*axis]).collect();
        filled_tensor(shape, |context, output| {
            tensor::permute(context, values(&input), shape_of(&input), permutation, output);
        })
    }

    fn cpu_concat(first: FlexTensor, rest: Vec<DispatchTensor>, axis: usize) -> FlexTensor {
        let rest = rest.into_iter().map(|part| {
            let part = <DispatchTensor as DispatchKindConversion<Flex>>::try_into_backend(part);
            part.unwrap_or_else(|error| panic!("a part of a concatenation is not on the CPU: {error}")).float()
        });
        let parts: Vec<FlexTensor> = std::iter::once(first).chain(rest).map(|part| part.to_contiguous()).collect();
        let mut shape = shape_of(&parts[0]).to_vec();
        let [outer, _, inner] = split_at_axis(&shape, axis);
        let sizes: Vec<usize> = parts.iter().map(|part| shape_of(part)[axis]).collect();
        for (part, size) in parts.iter().zip(&sizes) {
            shape[axis] = *size;
            assert_eq!(shape_of(part), shape, "shape of a part of a concatenation along axis {axis}");
        }
        shape[axis] = sizes.iter().sum();
        filled_tensor(shape, |context, output| {
            let parts: Vec<(&[f32], usize)> = parts.iter().map(values).zip(sizes.iter().copied()).collect();
            tensor::concat(context, &parts, outer, inner, output);
        })
    }

    fn cpu_slice(input: FlexTensor, axes: &[SliceAxis]) -> FlexTensor {
        let input = input.to_contiguous();
        let shape: Vec<usize> = axes.iter().map(|axis| axis.size).collect();
        filled_tensor(shape, |context, output| {
            tensor::slice(context, values(&input), shape_of(&input), axes, output);
        })
    }

    fn cpu_select_indices(input: FlexTensor, axis: usize, indices: &[usize]) -> FlexTensor {
        let input = input.to_contiguous();
        let sizes = split_at_axis(shape_of(&input), axis);
        let mut shape = shape_of(&input).to_vec();
        shape[axis] = indices.len();
        filled_tensor(shape, |context, output| {
            tensor::select_indices(context, values(&input), sizes, indices, output);
        })
    }

    fn cpu_pad(input: FlexTensor, before: &[usize], after: &[usize], value: f32) -> FlexTensor {
        let input = input.to_contiguous();
        let sizes = shape_of(&input).iter().zip(before).zip(after);
        let shape: Vec<usize> = sizes.map(|((size, before), after)| size + before + after).collect();
        filled_tensor(shape, |context, output| {
            tensor::pad(context, values(&input), shape_of(&input), before, after, value, output);
        })
    }

    fn cpu_expand(input: FlexTensor, shape: &[usize]) -> FlexTensor {
        let input = input.to_contiguous();
        let (shape, [own, _]) = broadcast([shape_of(&input), shape]);
        filled_tensor(shape.clone(), |context, output| tensor::expand(context, values(&input), &own, output, &shape))
    }

    fn cpu_matmul(a: FlexTensor, b: FlexTensor, b_transposed: bool) -> FlexTensor {
        let (a, b) = (a.to_contiguous(), b.to_contiguous());
        let a_shape = with_rank(shape_of(&a), 2);
        let mut b_shape = shape_of(&b).to_vec();
        let b_is_column = b_shape.len() == 1;
        if b_is_column {
            b_shape.push(1);
        }
        let (a_batch, [m, k]) = split_matrix(&a_shape);
        let (b_batch, b_size) = split_matrix(&b_shape);
        let b_transposed = b_transposed && !b_is_column;
        let [depth, n] = if b_transposed { [b_size[1], b_size[0]] } else { b_size };
        assert_eq!(k, depth, "values in a sum of the product of {:?} and {:?}", shape_of(&a), shape_of(&b));
        let (mut shape, [a_batch, b_batch]) = broadcast([a_batch, b_batch]);
        if shape_of(&a).len() != 1 {
            shape.push(m);
        }
        if !b_is_column {
            shape.push(n);
        }
        let size = MatmulSize { m, k, n };
        filled_tensor(shape, |context, output| {
            tensor::matmul(context, values(&a), &a_batch, values(&b), &b_batch, size, b_transposed, output);
        })
    }

    fn cpu_general_conv(input: FlexTensor, conv: &PackedGeneralConv) -> FlexTensor {
        run_general_conv(&input, None, conv)
    }

    fn cpu_general_conv_add(input: FlexTensor, residual: FlexTensor, conv: &PackedGeneralConv) -> FlexTensor {
        run_general_conv(&input, Some(&residual), conv)
    }
}

fn run_general_conv(input: &FlexTensor, residual: Option<&FlexTensor>, conv: &PackedGeneralConv) -> FlexTensor {
    let (input, residual) = (input.to_contiguous(), residual.map(FlexTensor::to_contiguous));
    let shape: [usize; 4] = shape_of(&input).try_into().expect("a convolution takes [batch, height, width, channels]");
    filled_tensor(conv.spec().output_shape(shape), |context, output| {
        conv.run(context, NhwcBatch::new(values(&input), shape), residual.as_ref().map(values), output);
    })
}

fn shape_of(tensor: &FlexTensor) -> &[usize] {
    tensor.layout().shape()
}

/// Returns the batch axes and the two axes of a matrix.
fn split_matrix(shape: &[usize]) -> (&[usize], [usize; 2]) {
    let (batch, matrix) = shape.split_at(shape.len() - 2);
    (batch, [matrix[0], matrix[1]])
}
