//! Copies of a tensor with other strides: permutation, slices with steps, expansion.

use std::ops::Range;

use super::super::context::Context;
use super::super::isa::SafeKernel;
use super::super::simd::Simd;
use super::for_each_rows;

/// Fills `output` with the axes of `input` in the order `permutation`: axis `i` of the output is axis `permutation[i]` of the
/// input.
///
/// # Panics
///
/// Panics if `permutation` is none of the axes of `shape`, or if a length is not that of the shape.
pub fn permute(context: &Context, input: &[f32], shape: &[usize], permutation: &[usize], output: &mut [f32]) {
    let mut sorted = permutation.to_vec();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(0..shape.len()), "{permutation:?} is not a permutation of the axes of {shape:?}");
    let axes = contiguous(shape);
    let axes = permutation.iter().map(|axis| axes[*axis]).collect();
    copy_strided(context, input, shape, 0, axes, output);
}

/// The part of one axis that [`slice()`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceAxis {
    /// The first position.
    pub start: usize,
    /// The distance from one position to the next; negative to reverse the axis.
    pub step: isize,
    /// The number of positions.
    pub size: usize,
}

/// Fills `output` with a part of `input`: some positions of each axis.
///
/// # Panics
///
/// Panics if a position does not exist, if the number of axes differs from the rank, or if a length is not that of its shape.
pub fn slice(context: &Context, input: &[f32], shape: &[usize], axes: &[SliceAxis], output: &mut [f32]) {
    assert_eq!(axes.len(), shape.len(), "axes of a slice of {shape:?}");
    let mut offset = 0;
    let mut strided = contiguous(shape);
    for ((own, axis), size) in strided.iter_mut().zip(axes).zip(shape) {
        let last = axis.start as isize + axis.step * (axis.size as isize - 1);
        let exists = axis.start < *size && (0..*size as isize).contains(&last);
        assert!(axis.size == 0 || exists, "{axis:?} of an axis of {size}");
        offset += axis.start as isize * own.stride;
        *own = Axis { size: axis.size, stride: own.stride * axis.step };
    }
    copy_strided(context, input, shape, offset as usize, strided, output);
}

/// Fills `output` with `input` repeated along the axes of size 1, as in broadcasting. Both shapes have the same rank.
///
/// # Panics
///
/// Panics if an axis has neither the size of the output nor 1, or if a length is not that of its shape.
pub fn expand(context: &Context, input: &[f32], shape: &[usize], output: &mut [f32], out_shape: &[usize]) {
    assert_eq!(shape.len(), out_shape.len(), "rank of {shape:?} expanded to {out_shape:?}");
    let expanded = |(own, size): (Axis, &usize)| {
        assert!(own.size == *size || own.size == 1, "{shape:?} expanded to {out_shape:?}");
        Axis { size: *size, stride: if own.size == *size { own.stride } else { 0 } }
    };
    let axes = contiguous(shape).into_iter().zip(out_shape).map(expanded).collect();
    copy_strided(context, input, shape, 0, axes, output);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    size: usize,
    /// The distance in the input from one position to the next.
    stride: isize,
}

/// Returns the axes of a contiguous tensor.
fn contiguous(shape: &[usize]) -> Vec<Axis> {
    let mut stride = 1;
    let mut axes: Vec<Axis> = Vec::with_capacity(shape.len());
    for size in shape.iter().rev() {
        axes.push(Axis { size: *size, stride });
        stride *= *size as isize;
    }
    axes.reverse();
    axes
}

/// Fills `output` with the values of `input` at `offset` plus the position along each axis times its stride. The callers ensure
/// that those lie within `shape`; slices check it again.
fn copy_strided(context: &Context, input: &[f32], shape: &[usize], offset: usize, axes: Vec<Axis>, output: &mut [f32]) {
    assert_eq!(input.len(), shape.iter().product::<usize>(), "values of shape {shape:?}");
    assert_eq!(output.len(), axes.iter().map(|axis| axis.size).product::<usize>(), "values of a copy of {shape:?}");
    if output.is_empty() {
        return;
    }
    // Axes of one position are dropped, and axes that pass over the input in the same way become one.
    let mut merged: Vec<Axis> = Vec::with_capacity(axes.len());
    for axis in axes.into_iter().filter(|axis| axis.size != 1) {
        match merged.last_mut() {
            Some(outer) if outer.stride == axis.stride * axis.size as isize => {
                *outer = Axis { size: outer.size * axis.size, stride: axis.stride };
            }
            _ => merged.push(axis),
        }
    }
    let Some(last) = merged.pop() else { return output.fill(input[offset]) };
    let outer = merged;
    let adjacent = outer.iter().rposition(|axis| axis.stride == 1 && axis.size >= 4);
    if let (Some(across), true) = (adjacent, !matches!(last.stride, 0 | 1)) {
        let transposition = Transposition { input, offset, outer: &outer, across, last };
        return transposition.run(context, output);
    }
    if outer.is_empty() && last.stride == 1 {
        // One run, which threads share.
        return for_each_rows(context, output, 1, 1, |range, output| {
            output.copy_from_slice(&input[offset + range.start..offset + range.end]);
        });
    }
    for_each_rows(context, output, last.size, 1, |rows, output| {
        let mut rows = Positions::new(&outer, offset, rows.start);
        for output in output.chunks_exact_mut(last.size) {
            let start = rows.next();
            match last.stride {
                1 => output.copy_from_slice(&input[start..][..last.size]),
                0 => output.fill(input[start]),
                stride => {
                    for (index, output) in output.iter_mut().enumerate() {
                        *output = input[start.wrapping_add_signed(index as isize * stride)];
                    }
                }
            }
        }
    });
}

/// The offsets of the positions of some axes, in row-major order.
struct Positions<'a> {
    axes: &'a [Axis],
    indices: Vec<usize>,
    offset: usize,
}

impl<'a> Positions<'a> {
    fn new(axes: &'a [Axis], offset: usize, first: usize) -> Self {
        let (mut rest, mut offset) = (first, offset);
        let mut indices = vec![0; axes.len()];
        for (axis, index) in axes.iter().zip(&mut indices).rev() {
            *index = rest % axis.size;
            rest /= axis.size;
            offset = offset.wrapping_add_signed(*index as isize * axis.stride);
        }
        Self { axes, indices, offset }
    }

    /// Returns the offset of this position, and goes to the next one.
    fn next(&mut self) -> usize {
        let here = self.offset;
        for (axis, index) in self.axes.iter().zip(&mut self.indices).rev() {
            *index += 1;
            self.offset = self.offset.wrapping_add_signed(axis.stride);
            if *index < axis.size {
                break;
            }
            *index = 0;
            self.offset = self.offset.wrapping_add_signed(-(axis.size as isize * axis.stride));
        }
        here
    }
}

/// A copy whose last axis has a stride, while another axis is adjacent in the input. The copy goes block by block, so that
/// each cache line is loaded once.
#[derive(Clone, Copy)]
struct Transposition<'a> {
    input: &'a [f32],
    offset: usize,
    /// The axes before the last one.
    outer: &'a [Axis],
    /// The index of the axis that is adjacent in the input.
    across: usize,
    last: Axis,
}

impl Transposition<'_> {
    /// Runs the copy. Threads share the axes up to `across`: an output range holds whole rows of the axes behind.
    fn run(self, context: &Context, output: &mut [f32]) {
        let behind: usize = self.outer[self.across + 1..].iter().map(|axis| axis.size).product();
        let row = behind * self.last.size;
        for_each_rows(context, output, row, 2, |rows, output| {
            context.isa().run(TransposeKernel { transposition: self, rows, output });
        });
    }
}

struct TransposeKernel<'a> {
    transposition: Transposition<'a>,
    /// Positions of the axes up to and including `across`.
    rows: Range<usize>,
    output: &'a mut [f32],
}

/// Values of a cache line.
const LINE: usize = 16;
/// Rows and columns of [`Simd::transpose_block`].
const BLOCK: usize = 8;

impl SafeKernel for TransposeKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { transposition: Transposition { input, offset, outer, across, last }, rows, output } = self;
        let (before, behind) = (&outer[..across], &outer[across + 1..]);
        let copies: usize = behind.iter().map(|axis| axis.size).product();
        let (size, stride) = (outer[across].size, copies * last.size);
        let (mut done, mut first) = (0, rows.start % size);
        let mut starts = Positions::new(before, offset, rows.start / size);
        while done < rows.len() {
            // Some adjacent positions for one position of the axes before.
            let run = (size - first).min(rows.len() - done);
            let mut positions = Positions::new(behind, starts.next() + first, 0);
            let output = &mut output[done * stride..(done + run) * stride];
            for copy in 0..copies {
                transpose::<S>(
                    input,
                    positions.next(),
                    last.stride,
                    last.size,
                    &mut output[copy * last.size..],
                    stride,
                    run,
                );
            }
            (done, first) = (done + run, 0);
        }
    }
}

/// Transposes `columns` columns of `rows` adjacent values. Value `r` of column `c` is `input[start + c * step + r]`, and goes to
/// `output[r * stride + c]`.
#[inline(always)]
pub(super) fn transpose<S: Simd>(
    input: &[f32],
    start: usize,
    step: isize,
    columns: usize,
    output: &mut [f32],
    stride: usize,
    rows: usize,
) {
    let from = |column: usize| start.wrapping_add_signed(column as isize * step);
    if columns < BLOCK {
        let column = |column: usize| &input[from(column)..][..rows];
        match columns {
            2 if stride == 2 => return interleave([0, 1].map(column), output),
            3 if stride == 3 => return interleave([0, 1, 2].map(column), output),
            4 if stride == 4 => return interleave([0, 1, 2, 3].map(column), output),
            _ => {}
        }
        for column in 0..columns {
            let values = &input[from(column)..][..rows];
            for (to, value) in output[column..].iter_mut().step_by(stride).zip(values) {
                *to = *value;
            }
        }
        return;
    }
    for line in (0..rows).step_by(LINE) {
        for column in (0..columns).step_by(BLOCK) {
            let width = BLOCK.min(columns - column);
            for row in (line..(line + LINE).min(rows)).step_by(BLOCK) {
                let height = BLOCK.min(rows - row);
                if height == BLOCK && width == BLOCK {
                    let [first, last] = [column, column + BLOCK - 1].map(|column| from(column) + row);
                    let _within = [first, last].map(|start| &input[start..][..BLOCK]);
                    let output = &mut output[row * stride + column..][..(BLOCK - 1) * stride + BLOCK];
                    // SAFETY: the first and the last column lie within the input, so that those between them do as well, and
                    // the pointer is that of the whole input. The output holds all rows. The slices do not overlap.
                    unsafe { S::transpose_block(input.as_ptr().add(first), step, output.as_mut_ptr(), stride) };
                    continue;
                }
                for c in 0..width {
                    let values = &input[from(column + c) + row..][..height];
                    for (r, value) in values.iter().enumerate() {
                        output[(row + r) * stride + column + c] = *value;
                    }
                }
            }
        }
    }
}

/// Fills `output` with the first values of all columns, then the second ones, and so on. The number of columns is a constant, so
/// that the loop becomes vector instructions.
#[inline(always)]
fn interleave<const COLUMNS: usize>(columns: [&[f32]; COLUMNS], output: &mut [f32]) {
    let rows = columns[0].len();
    let output = &mut output.as_chunks_mut::<COLUMNS>().0[..rows];
    let columns = columns.map(|column| &column[..rows]);
    for row in 0..rows {
        for column in 0..COLUMNS {
            output[row][column] = columns[column][row];
        }
    }
}
