//! CPU kernels for the tensor operations of any ONNX classifier, besides those on images.
//!
//! Tensors are contiguous slices of f32 in row-major order with explicit shapes. The functions write every value of their
//! output, check all lengths, and share large work among the threads of their [`Context`]. Kernels are plain loops, compiled
//! for each instruction set (see `SafeKernel`).
//!
//! | file | operations |
//! |---|---|
//! | `functions.rs` | functions of one value |
//! | `affine.rs` | a factor and a summand for each channel |
//! | `binary.rs` | arithmetic, comparisons and selection with broadcasting |
//! | `normalization.rs` | layer normalisation, softmax |
//! | `reduction.rs` | sums, means, extrema over axes |
//! | `strided.rs` | permutation, slices, expansion |
//! | `movement.rs` | concatenation, selection by indices, padding |
//! | `matmul.rs` | batches of matrix products |

mod affine;
mod binary;
mod broadcast;
mod functions;
pub(super) mod math;
mod matmul;
mod movement;
mod normalization;
mod reduction;
mod strided;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use affine::affine;
pub use binary::{binary, select};
pub use functions::unary;
pub use kiln_ops::{Binary, Reduction, Unary};
pub use matmul::{MatmulSize, matmul};
pub use movement::{concat, pad, select_indices};
pub use normalization::{layer_norm, softmax};
pub use reduction::reduce;
pub use strided::{SliceAxis, expand, permute, slice};

use super::context::Context;
use super::nhwc::OutputView;
pub(super) use functions::{InPlace, ValueLoop, apply_in_place};
pub(super) use math::fma;

/// The least work of a thread, in values of an addition. Less work takes no longer than the start of a thread.
const MIN_WORK: usize = 16 * 1024;

/// Splits `output` into ranges of rows of `row` values, and calls `work` for each range and its values on the threads of the
/// context. `cost` is the work for one value, compared with an addition.
pub(super) fn for_each_rows(
    context: &Context,
    output: &mut [f32],
    row: usize,
    cost: usize,
    work: impl Fn(Range<usize>, &mut [f32]) + Sync,
) {
    if output.is_empty() {
        return;
    }
    let rows = output.len() / row;
    assert_eq!(rows * row, output.len(), "values of rows of {row}");
    let min_rows = (MIN_WORK / (row * cost).max(1)).max(1);
    if rows < 2 * min_rows {
        return work(0..rows, output);
    }
    let view = OutputView::new(output, None);
    context.team.for_each_range(rows, min_rows, |rows| {
        let length = rows.len() * row;
        let start = view.skip(rows.start * row).output(length);
        // SAFETY: the view checks that the values exist, and no two ranges overlap.
        let values = unsafe { std::slice::from_raw_parts_mut(start, length) };
        work(rows, values);
    });
}
