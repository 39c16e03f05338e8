//! Layer normalisation over the last axis, and softmax over any axis.

use super::super::context::Context;
use super::super::isa::SafeKernel;
use super::super::simd::Simd;
use super::for_each_rows;
use super::math::{exp_of_negative, fma, max};

/// Partial results of a sum or maximum over a row. The compiler keeps them in vectors; one running result would be a chain of
/// dependent additions.
const PARTS: usize = 32;

/// Combines `values`, each passed through `map`, with `combine`, which must be associative and commutative up to rounding.
#[inline(always)]
pub(super) fn fold_row(values: &[f32], start: f32, map: impl Fn(f32) -> f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut parts = [start; PARTS];
    let chunks = values.chunks_exact(PARTS);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (part, value) in parts.iter_mut().zip(chunk) {
            *part = combine(*part, map(*value));
        }
    }
    for (part, value) in parts.iter_mut().zip(rest) {
        *part = combine(*part, map(*value));
    }
    let mut width = PARTS / 2;
    while width > 0 {
        for index in 0..width {
            parts[index] = combine(parts[index], parts[index + width]);
        }
        width /= 2;
    }
    parts[0]
}

/// Normalises each row of `width` values to mean 0 and variance 1, and fills `output` with the result times `scale` plus
/// `bias`. `epsilon` is added to the variance.
///
/// # Panics
///
/// Panics if `scale` or `bias` has another length than `width`, if the input is not a number of rows, or if the output has
/// another length.
pub fn layer_norm(
    context: &Context,
    input: &[f32],
    width: usize,
    epsilon: f32,
    scale: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    assert_eq!([scale.len(), bias.len()], [width; 2], "scale and bias of a normalisation");
    assert_eq!(input.len(), output.len(), "values of a normalisation");
    for_each_rows(context, output, width, 3, |rows, output| {
        let input = &input[rows.start * width..rows.end * width];
        context.isa().run(LayerNormKernel { input, epsilon, scale, bias, output });
    });
}

struct LayerNormKernel<'a> {
    input: &'a [f32],
    epsilon: f32,
    scale: &'a [f32],
    bias: &'a [f32],
    output: &'a mut [f32],
}

impl SafeKernel for LayerNormKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { input, epsilon, scale, bias, output } = self;
        let width = scale.len();
        for (output, input) in output.chunks_exact_mut(width).zip(input.chunks_exact(width)) {
            let mean = fold_row(input, 0.0, |x| x, |a, b| a + b) / width as f32;
            let variance = fold_row(input, 0.0, |x| (x - mean) * (x - mean), |a, b| a + b) / width as f32;
            let factor = 1.0 / (variance + epsilon).sqrt();
            for (((output, input), scale), bias) in output.iter_mut().zip(input).zip(scale).zip(bias) {
                *output = fma::<S>((input - mean) * factor, *scale, *bias);
            }
        }
    }
}

/// Computes the softmax, or its logarithm, over the middle axis of `[outer, size, inner]`.
///
/// # Panics
///
/// Panics if a length is not `outer * size * inner`.
pub fn softmax(
    context: &Context,
    input: &[f32],
    outer: usize,
    size: usize,
    inner: usize,
    log: bool,
    output: &mut [f32],
) {
    assert_eq!([input.len(), output.len()], [outer * size * inner; 2], "values of a softmax");
    for_each_rows(context, output, size * inner, 5, |rows, output| {
        let input = &input[rows.start * size * inner..rows.end * size * inner];
        if inner == 1 {
            context.isa().run(RowSoftmaxKernel { input, size, log, output });
        } else {
            context.isa().run(ColumnSoftmaxKernel { input, size, inner, log, output });
        }
    });
}

struct RowSoftmaxKernel<'a> {
    input: &'a [f32],
    size: usize,
    log: bool,
    output: &'a mut [f32],
}

impl SafeKernel for RowSoftmaxKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { input, size, log, output } = self;
        for (output, input) in output.chunks_exact_mut(size).zip(input.chunks_exact(size)) {
            let most = fold_row(input, f32::NEG_INFINITY, |x| x, max);
            map_row(output, input, |x| exp_of_negative::<S>(x - most));
            let sum = fold_row(output, 0.0, |x| x, |a, b| a + b);
            if log {
                let log_sum = sum.ln();
                for (output, input) in output.iter_mut().zip(input) {
                    *output = input - most - log_sum;
                }
            } else {
                let factor = 1.0 / sum;
                output.iter_mut().for_each(|output| *output *= factor);
            }
        }
    }
}

/// Fills a row with the function of each value. A short rest is computed as a whole vector: one by one, a few values would take as
/// long as all others.
#[inline(always)]
fn map_row(output: &mut [f32], input: &[f32], function: impl Fn(f32) -> f32) {
    const WIDTH: usize = 16;
    let whole = input.len() / WIDTH * WIDTH;
    for (output, input) in output[..whole].iter_mut().zip(input) {
        *output = function(*input);
    }
    let rest = &input[whole..];
    if !rest.is_empty() {
        let mut values = [rest[0]; WIDTH];
        values[..rest.len()].copy_from_slice(rest);
        values.iter_mut().for_each(|value| *value = function(*value));
        output[whole..].copy_from_slice(&values[..rest.len()]);
    }
}

struct ColumnSoftmaxKernel<'a> {
    input: &'a [f32],
    size: usize,
    inner: usize,
    log: bool,
    output: &'a mut [f32],
}

/// Columns that are computed together.
const COLUMNS: usize = 64;

impl SafeKernel for ColumnSoftmaxKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { input, size, inner, log, output } = self;
        let item = size * inner;
        for (output, input) in output.chunks_exact_mut(item).zip(input.chunks_exact(item)) {
            for first in (0..inner).step_by(COLUMNS) {
                let columns = first..(first + COLUMNS).min(inner);
                let (mut most, mut sums) = ([f32::NEG_INFINITY; COLUMNS], [0.0; COLUMNS]);
                for row in input.chunks_exact(inner) {
                    for (most, value) in most.iter_mut().zip(&row[columns.clone()]) {
                        *most = max(*most, *value);
                    }
                }
                for (output, row) in output.chunks_exact_mut(inner).zip(input.chunks_exact(inner)) {
                    let pairs = output[columns.clone()].iter_mut().zip(&row[columns.clone()]);
                    for (((output, value), most), sum) in pairs.zip(&most).zip(&mut sums) {
                        *output = exp_of_negative::<S>(value - most);
                        *sum += *output;
                    }
                }
                if log {
                    sums.iter_mut().zip(&most).for_each(|(sum, most)| *sum = sum.ln() + most);
                    for (output, row) in output.chunks_exact_mut(inner).zip(input.chunks_exact(inner)) {
                        let pairs = output[columns.clone()].iter_mut().zip(&row[columns.clone()]);
                        pairs.zip(&sums).for_each(|((output, value), sum)| *output = value - sum);
                    }
                } else {
                    sums.iter_mut().for_each(|sum| *sum = 1.0 / *sum);
                    for output in output.chunks_exact_mut(inner) {
                        output[columns.clone()].iter_mut().zip(&sums).for_each(|(output, factor)| *output *= factor);
                    }
                }
            }
        }
    }
}
