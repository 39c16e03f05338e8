//! Copies of whole runs of values: concatenation, selection by indices, padding.

use super::super::context::Context;
use super::for_each_rows;

/// Joins tensors along one axis. Each part is its values, `[outer, size, inner]`, and its `size`.
///
/// # Panics
///
/// Panics if a length does not match.
pub fn concat(context: &Context, parts: &[(&[f32], usize)], outer: usize, inner: usize, output: &mut [f32]) {
    for (values, size) in parts {
        assert_eq!(values.len(), outer * size * inner, "values of a part of size {size}");
    }
    let row = parts.iter().map(|(_, size)| size * inner).sum::<usize>();
    assert_eq!(output.len(), outer * row, "values of a concatenation");
    for_each_rows(context, output, row, 1, |rows, output| {
        for (index, mut output) in rows.zip(output.chunks_exact_mut(row)) {
            for (values, size) in parts {
                let length = size * inner;
                let (here, rest) = output.split_at_mut(length);
                here.copy_from_slice(&values[index * length..][..length]);
                output = rest;
            }
        }
    });
}

/// Selects positions of the middle axis of `[outer, size, inner]` (ONNX `Gather`). The output is
/// `[outer, indices.len(), inner]`.
///
/// # Panics
///
/// Panics if an index does not exist, or if a length does not match.
pub fn select_indices(
    context: &Context,
    input: &[f32],
    [outer, size, inner]: [usize; 3],
    indices: &[usize],
    output: &mut [f32],
) {
    assert_eq!(input.len(), outer * size * inner, "values to select from");
    assert_eq!(output.len(), outer * indices.len() * inner, "selected values");
    assert!(indices.iter().all(|index| *index < size), "an index is beyond the axis of {size}");
    if inner == 1 {
        return for_each_rows(context, output, indices.len(), 2, |rows, output| {
            for (row, output) in rows.zip(output.chunks_exact_mut(indices.len())) {
                let values = &input[row * size..][..size];
                output.iter_mut().zip(indices).for_each(|(output, index)| *output = values[*index]);
            }
        });
    }
    for_each_rows(context, output, inner, 1, |rows, output| {
        for (row, output) in rows.zip(output.chunks_exact_mut(inner)) {
            let from = row / indices.len() * size + indices[row % indices.len()];
            output.copy_from_slice(&input[from * inner..][..inner]);
        }
    });
}

/// Pads a tensor with `value`: `before[i]` and `after[i]` positions on both sides of axis `i`.
///
/// # Panics
///
/// Panics if the ranks differ, or if a length does not match.
pub fn pad(
    context: &Context,
    input: &[f32],
    shape: &[usize],
    before: &[usize],
    after: &[usize],
    value: f32,
    output: &mut [f32],
) {
    assert_eq!([before.len(), after.len()], [shape.len(); 2], "padding of shape {shape:?}");
    assert_eq!(input.len(), shape.iter().product::<usize>(), "values of shape {shape:?}");
    // An axis without padding joins the axis before it, so that rows are long.
    let mut axes: Vec<[usize; 3]> = Vec::with_capacity(shape.len());
    let mut inner = 1;
    for axis in (0..shape.len()).rev() {
        let unit = inner;
        inner *= shape[axis];
        if before[axis] + after[axis] > 0 || axis == 0 {
            axes.push([inner, before[axis] * unit, after[axis] * unit]);
            inner = 1;
        }
    }
    axes.reverse();
    let padded = |axis: &[usize; 3]| axis.iter().sum::<usize>();
    assert_eq!(output.len(), axes.iter().map(padded).product::<usize>(), "values of a padded tensor");
    if input.is_empty() {
        return output.fill(value);
    }
    let Some(last) = axes.pop() else { return output.copy_from_slice(input) };
    let [length, left, _] = last;
    for_each_rows(context, output, padded(&last), 1, |rows, output| {
        for (row, output) in rows.zip(output.chunks_exact_mut(padded(&last))) {
            let (mut rest, mut from, mut stride) = (row, Some(0), 1);
            for axis in axes.iter().rev() {
                let position = (rest % padded(axis)).checked_sub(axis[1]).filter(|position| *position < axis[0]);
                from = from.zip(position).map(|(from, position)| from + position * stride);
                rest /= padded(axis);
                stride *= axis[0];
            }
            let Some(from) = from else {
                output.fill(value);
                continue;
            };
            let (start, rest) = output.split_at_mut(left);
            let (middle, end) = rest.split_at_mut(length);
            start.fill(value);
            middle.copy_from_slice(&input[from * length..][..length]);
            end.fill(value);
        }
    });
}
