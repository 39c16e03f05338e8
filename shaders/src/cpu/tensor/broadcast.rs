//! NumPy broadcasting: the positions in the operands for each run of adjacent output values.

use std::ops::Range;

/// `N` operands that are broadcast to one shape. An operand's axis has the size of the output, or 1.
///
/// Axes of size 1 are dropped, and neighbouring axes that every operand passes over in the same way become one. The last
/// axis then has stride 1 (the operand has its own values) or 0 (the operand repeats one value).
pub(super) struct Broadcast<const N: usize> {
    /// Output values along the last axis.
    length: usize,
    /// For each operand the stride of the last axis, 0 or 1.
    pub(super) strides: [usize; N],
    /// The sizes and strides of the axes before the last one.
    outer: Vec<(usize, [usize; N])>,
}

impl<const N: usize> Broadcast<N> {
    /// Prepares the operands of these shapes and lengths.
    ///
    /// # Panics
    ///
    /// Panics if the ranks differ, if a shape cannot be broadcast, or if a length is not that of its shape.
    pub(super) fn new(operands: [(&[usize], usize); N], output: (&[usize], usize)) -> Self {
        let (shape, length) = output;
        assert_eq!(length, shape.iter().product::<usize>(), "values of the output of shape {shape:?}");
        let mut strides = [1; N];
        for (operand, length) in operands {
            assert_eq!(operand.len(), shape.len(), "rank of {operand:?} broadcast to {shape:?}");
            assert_eq!(length, operand.iter().product::<usize>(), "values of an operand of shape {operand:?}");
        }
        // From the last axis to the first.
        let mut axes: Vec<(usize, [usize; N])> = Vec::with_capacity(shape.len());
        for (axis, size) in shape.iter().copied().enumerate().rev() {
            let here = std::array::from_fn(|index| {
                let own = operands[index].0[axis];
                assert!(own == size || own == 1, "{:?} broadcast to {shape:?}", operands[index].0);
                let stride = if own == size && size != 1 { strides[index] } else { 0 };
                strides[index] *= own;
                stride
            });
            if size == 1 {
                continue;
            }
            match axes.last_mut() {
                Some((inner, steps)) if (0..N).all(|index| here[index] == steps[index] * *inner) => *inner *= size,
                _ => axes.push((size, here)),
            }
        }
        axes.reverse();
        let (length, strides) = axes.pop().unwrap_or((1, [0; N]));
        Self { length, strides, outer: axes }
    }

    /// Calls `work` for each run of output values within `range`, with the offset of its first value in each operand. The
    /// runs are relative to the start of the range.
    #[inline(always)]
    pub(super) fn for_each_run(&self, range: Range<usize>, mut work: impl FnMut([usize; N], Range<usize>)) {
        let (mut row, mut column) = (range.start / self.length, range.start % self.length);
        let mut offsets = [0; N];
        let mut indices = vec![0; self.outer.len()];
        for ((size, strides), index) in self.outer.iter().zip(&mut indices).rev() {
            *index = row % size;
            row /= size;
            for (offset, stride) in offsets.iter_mut().zip(strides) {
                *offset += *index * stride;
            }
        }
        let mut done = 0;
        while done < range.len() {
            let run = (self.length - column).min(range.len() - done);
            work(std::array::from_fn(|index| offsets[index] + column * self.strides[index]), done..done + run);
            done += run;
            column = 0;
            for ((size, strides), index) in self.outer.iter().zip(&mut indices).rev() {
                *index += 1;
                for (offset, stride) in offsets.iter_mut().zip(strides) {
                    *offset += stride;
                }
                if *index < *size {
                    break;
                }
                *index = 0;
                for (offset, stride) in offsets.iter_mut().zip(strides) {
                    *offset -= size * stride;
                }
            }
        }
    }

    /// Returns the values that an operand has for a run: one if it repeats a value.
    #[inline(always)]
    pub(super) fn values<'a>(&self, operand: usize, values: &'a [f32], offset: usize, run: usize) -> &'a [f32] {
        &values[offset..][..if self.strides[operand] == 0 { 1 } else { run }]
    }
}
