//! The tensor operations of [`crate::cpu::tensor`] on Burn tensors of any rank.
//!
//! They take and return f32 tensors on the CPU, in the form in which a run-time executor holds them: without their rank in
//! the type. They use the instruction set, threads and buffers of the [`crate::cpu::Context`] that the thread has entered.
//! Other backends and types panic. Tensors that are not contiguous are copied first.
//!
//! Operands of lower rank are broadcast as in NumPy: their shape gets leading axes of size 1.

mod backend;
mod shapes;

use burn::backend::{Dispatch, DispatchDevice, DispatchTensor};
use burn::tensor::Device;

use crate::Kernels;
pub use crate::cpu::tensor::{Binary, Reduction, SliceAxis, Unary};
use crate::cpu::{Context, GeneralConvSpec, PackedGeneralConv};
pub use backend::CpuTensorOps;

/// Returns whether these operations run on tensors of `device`: it is the CPU, and Kiln's kernels are selected on this thread.
pub fn runs_on(device: &Device) -> bool {
    let is_cpu = matches!(device.as_dispatch(), DispatchDevice::Flex(_));
    is_cpu && matches!(Kernels::current(device), Kernels::Fused(_))
}

/// Packs the weights `[outputs, inputs / groups, height, width]` and the bias `[outputs]` of a convolution for the instruction
/// set that this thread has entered.
///
/// # Panics
///
/// Panics if the number of weights is not that of `spec`.
pub fn pack_general_conv(spec: GeneralConvSpec, weight: &[f32], bias: &[f32]) -> PackedGeneralConv {
    PackedGeneralConv::pack(Context::current().isa(), spec, weight, bias)
}

/// Returns the function of each value.
pub fn unary(input: DispatchTensor, function: Unary) -> DispatchTensor {
    Dispatch::cpu_unary(input, function)
}

/// Returns the operation on each pair of values, with broadcasting.
///
/// # Panics
///
/// Panics if the shapes cannot be broadcast.
pub fn binary(a: DispatchTensor, b: DispatchTensor, operation: Binary) -> DispatchTensor {
    Dispatch::cpu_binary(a, b, operation)
}

/// Returns `yes` where `condition` is not 0, and `no` elsewhere, with broadcasting (ONNX `Where`).
///
/// # Panics
///
/// Panics if the shapes cannot be broadcast.
pub fn select(condition: DispatchTensor, yes: DispatchTensor, no: DispatchTensor) -> DispatchTensor {
    Dispatch::cpu_select(condition, yes, no)
}

/// Returns `function(input * factor + summand)`, with one factor and one summand for each position of the last axis.
///
/// # Panics
///
/// Panics if the number of factors or summands is not the size of the last axis.
pub fn affine(input: DispatchTensor, factor: &[f32], summand: &[f32], function: Option<Unary>) -> DispatchTensor {
    Dispatch::cpu_affine(input, factor, summand, function)
}

/// Normalises the last axis to mean 0 and variance 1, and returns the result times `scale` plus `bias`.
///
/// # Panics
///
/// Panics if the number of scales or biases is not the size of the last axis.
pub fn layer_norm(input: DispatchTensor, epsilon: f32, scale: &[f32], bias: &[f32]) -> DispatchTensor {
    Dispatch::cpu_layer_norm(input, epsilon, scale, bias)
}

/// Returns the softmax, or its logarithm, over an axis.
///
/// # Panics
///
/// Panics if the axis does not exist.
pub fn softmax(input: DispatchTensor, axis: usize, log: bool) -> DispatchTensor {
    Dispatch::cpu_softmax(input, axis, log)
}

/// Reduces some axes. They remain with size 1 if `keep_axes`.
///
/// # Panics
///
/// Panics if an axis does not exist.
pub fn reduce(input: DispatchTensor, reduction: Reduction, axes: &[usize], keep_axes: bool) -> DispatchTensor {
    Dispatch::cpu_reduce(input, reduction, axes, keep_axes)
}

/// Returns the axes in another order: axis `i` of the output is axis `permutation[i]` of the input.
///
/// # Panics
///
/// Panics if `permutation` is not a permutation of the axes.
pub fn permute(input: DispatchTensor, permutation: &[usize]) -> DispatchTensor {
    Dispatch::cpu_permute(input, permutation)
}

/// Joins tensors along an axis.
///
/// # Panics
///
/// Panics if there are no tensors, or if their shapes differ in another axis.
pub fn concat(parts: Vec<DispatchTensor>, axis: usize) -> DispatchTensor {
    let mut parts = parts.into_iter();
    let first = parts.next().expect("a concatenation has at least one part");
    Dispatch::cpu_concat(first, parts.collect(), axis)
}

/// Returns some positions of each axis.
///
/// # Panics
///
/// Panics if a position does not exist.
pub fn slice(input: DispatchTensor, axes: &[SliceAxis]) -> DispatchTensor {
    Dispatch::cpu_slice(input, axes)
}

/// Returns some positions of one axis (ONNX `Gather` with a list of indices).
///
/// # Panics
///
/// Panics if an index does not exist.
pub fn select_indices(input: DispatchTensor, axis: usize, indices: &[usize]) -> DispatchTensor {
    Dispatch::cpu_select_indices(input, axis, indices)
}

/// Pads with `value`: `before[i]` and `after[i]` positions on both sides of axis `i`.
///
/// # Panics
///
/// Panics if the number of axes differs.
pub fn pad(input: DispatchTensor, before: &[usize], after: &[usize], value: f32) -> DispatchTensor {
    Dispatch::cpu_pad(input, before, after, value)
}

/// Repeats the values along axes of size 1, up to the broadcast of both shapes (ONNX `Expand`).
///
/// # Panics
///
/// Panics if the shapes cannot be broadcast.
pub fn expand(input: DispatchTensor, shape: &[usize]) -> DispatchTensor {
    Dispatch::cpu_expand(input, shape)
}

/// Returns the matrix products `[.., m, k]` times `[.., k, n]`, or times the transposed `[.., n, k]`, with broadcasting of the
/// axes before. A tensor with one axis is a row on the left and a column on the right, and that axis is dropped from the
/// result.
///
/// # Panics
///
/// Panics if the shapes do not match.
pub fn matmul(a: DispatchTensor, b: DispatchTensor, b_transposed: bool) -> DispatchTensor {
    Dispatch::cpu_matmul(a, b, b_transposed)
}

/// Returns `activation(convolution(input) + bias + residual)` of NHWC images.
///
/// # Panics
///
/// Panics if the shapes do not match.
pub fn general_conv(
    input: DispatchTensor,
    residual: Option<DispatchTensor>,
    conv: &PackedGeneralConv,
) -> DispatchTensor {
    match residual {
        None => Dispatch::cpu_general_conv(input, conv),
        Some(residual) => Dispatch::cpu_general_conv_add(input, residual, conv),
    }
}
