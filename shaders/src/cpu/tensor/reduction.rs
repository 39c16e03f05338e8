//! Sums, means, products and extrema over some axes.

use std::ops::Range;

use kiln_ops::Reduction;

use super::super::context::Context;
use super::super::isa::SafeKernel;
use super::super::simd::Simd;
use super::normalization::fold_row;
use super::{for_each_rows, math};

/// Reduces the axes `axes` of `input`. The output has the other axes in their order; whether the reduced ones remain with size
/// 1 makes no difference to its values. Without axes the output is the input. The sum of no values is 0, and their product 1.
///
/// # Panics
///
/// Panics if an axis does not exist, or if a length is not that of its shape.
pub fn reduce(
    context: &Context,
    reduction: Reduction,
    input: &[f32],
    shape: &[usize],
    axes: &[usize],
    output: &mut [f32],
) {
    assert_eq!(input.len(), shape.iter().product::<usize>(), "values of shape {shape:?}");
    assert!(axes.iter().all(|axis| *axis < shape.len()), "axes {axes:?} of shape {shape:?}");
    let is_reduced = |axis: usize| axes.contains(&axis);
    let kept = shape.iter().enumerate().filter(|(axis, _)| !is_reduced(*axis)).map(|(_, size)| size);
    assert_eq!(output.len(), kept.product::<usize>(), "values of {shape:?} reduced over {axes:?}");
    // Neighbouring axes that are both reduced or both kept are one axis.
    let mut groups: Vec<(usize, bool)> = Vec::with_capacity(shape.len());
    for (axis, size) in shape.iter().copied().enumerate().filter(|(_, size)| *size != 1) {
        match groups.last_mut() {
            Some((total, reduced)) if *reduced == is_reduced(axis) => *total *= size,
            _ => groups.push((size, is_reduced(axis))),
        }
    }
    let count: usize = groups.iter().filter(|(_, reduced)| *reduced).map(|(size, _)| size).product();
    let mut factor = if reduction == Reduction::Mean { 1.0 / count as f32 } else { 1.0 };
    // The innermost group first: its result is small. Usually there is one.
    let mut between = None;
    loop {
        let input = between.as_deref().unwrap_or(input);
        let Some(index) = groups.iter().rposition(|(_, reduced)| *reduced) else {
            return output.copy_from_slice(input);
        };
        let product = |groups: &[(usize, bool)]| groups.iter().map(|(size, _)| size).product::<usize>();
        let sizes = [groups[index].0, product(&groups[index + 1..])];
        let outer = product(&groups[..index]);
        groups.remove(index);
        if groups.iter().all(|(_, reduced)| !reduced) {
            return reduce_axis(context, reduction, factor, input, sizes, output);
        }
        let mut smaller = context.buffers.take(outer * sizes[1]);
        reduce_axis(context, reduction, factor, input, sizes, &mut smaller);
        between = Some(smaller);
        factor = 1.0;
    }
}

/// Reduces the middle axis of `[outer, size, inner]`, and multiplies the results by `factor`.
fn reduce_axis(
    context: &Context,
    reduction: Reduction,
    factor: f32,
    input: &[f32],
    [size, inner]: [usize; 2],
    output: &mut [f32],
) {
    for_each_rows(context, output, 1, size, |range, output| {
        context.isa().run(ReduceKernel { reduction, factor, input, size, inner, range, output });
    });
}

struct ReduceKernel<'a> {
    reduction: Reduction,
    factor: f32,
    input: &'a [f32],
    size: usize,
    inner: usize,
    /// The output values to compute.
    range: Range<usize>,
    output: &'a mut [f32],
}

impl SafeKernel for ReduceKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        match self.reduction {
            Reduction::Sum | Reduction::Mean => self.combine(0.0, |a, b| a + b),
            Reduction::Max => self.combine(f32::NEG_INFINITY, math::max),
            Reduction::Min => self.combine(f32::INFINITY, math::min),
            Reduction::Product => self.combine(1.0, |a, b| a * b),
        }
    }
}

/// Output values that stay in the first-level cache while all their inputs pass.
const COLUMNS: usize = 512;

impl ReduceKernel<'_> {
    #[inline(always)]
    fn combine(self, start: f32, combine: impl Fn(f32, f32) -> f32) {
        let Self { factor, input, size, inner, range, output, .. } = self;
        if inner == 1 {
            let rows = &input[range.start * size..range.end * size];
            for (index, output) in output.iter_mut().enumerate() {
                *output = fold_row(&rows[index * size..][..size], start, |x| x, &combine) * factor;
            }
            return;
        }
        let mut done = 0;
        while done < output.len() {
            let (outer, column) = ((range.start + done) / inner, (range.start + done) % inner);
            let run = (inner - column).min(output.len() - done).min(COLUMNS);
            let output = &mut output[done..done + run];
            output.fill(start);
            for row in 0..size {
                let values = &input[(outer * size + row) * inner + column..][..run];
                output.iter_mut().zip(values).for_each(|(output, value)| *output = combine(*output, *value));
            }
            output.iter_mut().for_each(|output| *output *= factor);
            done += run;
        }
    }
}
