//! Batches of matrix products, with the register tile of the dense convolution.
//!
//! A row of the first matrix is a pixel of the tile, and a column of the second one is an output channel. The columns are
//! packed into panels for each product. That costs little if the first matrix has some dozens of rows.

use kiln_ops::Activation;

use super::super::buffers::{Scratch, with_scratch};
use super::super::context::Context;
use super::super::dense::{DenseJob, DepthLayout, run_dense};
use super::super::isa::{Isa, SafeKernel};
use super::super::nhwc::{Grid, OutputView, split_by_image};
use super::super::packed_weights::{Panel, PanelsView, panel_layout};
use super::super::simd::Simd;
use super::broadcast::Broadcast;
use super::strided::transpose;

/// The sizes of a product: `[m, k]` times `[k, n]` is `[m, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulSize {
    /// Rows of the first matrix.
    pub m: usize,
    /// Values in a sum.
    pub k: usize,
    /// Columns of the second matrix.
    pub n: usize,
}

/// Multiplications that are worth another thread.
const MIN_WORK: usize = 256 * 1024;

/// Multiplies the matrices `a`, `[a_batch.., m, k]`, and `b`, `[b_batch.., k, n]`, or `[b_batch.., n, k]` if `b_transposed`. The
/// batch axes have equal rank, and each has the size of the output or 1 (broadcasting). Sums are f32 on every instruction set.
///
/// # Panics
///
/// Panics if the batch axes cannot be broadcast, or if a length is not that of its shape.
#[expect(clippy::too_many_arguments, reason = "two operands and an output, each with a shape")]
pub fn matmul(
    context: &Context,
    a: &[f32],
    a_batch: &[usize],
    b: &[f32],
    b_batch: &[usize],
    size: MatmulSize,
    b_transposed: bool,
    output: &mut [f32],
) {
    let MatmulSize { m, k, n } = size;
    let [a_items, b_items] = [a_batch, b_batch].map(|batch| batch.iter().product::<usize>());
    assert_eq!(a.len(), a_items * m * k, "values of the first matrices {a_batch:?} {size:?}");
    assert_eq!(b.len(), b_items * k * n, "values of the second matrices {b_batch:?} {size:?}");
    assert_eq!(a_batch.len(), b_batch.len(), "rank of the batches {a_batch:?} and {b_batch:?}");
    let batch: Vec<usize> = a_batch.iter().zip(b_batch).map(|(a, b)| if *a == 1 { *b } else { *a }).collect();
    let items: usize = batch.iter().product();
    assert_eq!(output.len(), items * m * n, "values of the products {batch:?} {size:?}");
    let broadcast = Broadcast::new([(a_batch, a_items), (b_batch, b_items)], (&batch, items));
    if output.is_empty() {
        return;
    }
    if k == 0 {
        return output.fill(0.0);
    }
    let isa = context.isa().without_bf16();
    // The same second matrix for all items makes them one product.
    if b_items == 1 && a_items == items {
        let product = Product { isa, size: MatmulSize { m: m * items, ..size }, a, b, b_transposed };
        return product.run(context, &[[0, 0]], output);
    }
    let mut pairs = Vec::with_capacity(items);
    broadcast.for_each_run(0..items, |[a, b], run| {
        let [a_step, b_step] = broadcast.strides;
        pairs.extend((0..run.len()).map(|item| [a + item * a_step, b + item * b_step]));
    });
    Product { isa, size, a, b, b_transposed }.run(context, &pairs, output);
}

struct Product<'a> {
    isa: Isa,
    size: MatmulSize,
    a: &'a [f32],
    b: &'a [f32],
    b_transposed: bool,
}

impl Product<'_> {
    /// Computes the products of the pairs of matrices with these indices. Threads share the panels of all items.
    fn run(&self, context: &Context, pairs: &[[usize; 2]], output: &mut [f32]) {
        let MatmulSize { m, k, n } = self.size;
        let (panels, length) = panel_layout(self.isa, n, k);
        let output = OutputView::new(output, None);
        let min_panels = (MIN_WORK * panels.len() / (m * k * n)).max(1);
        context.team.for_each_range(pairs.len() * panels.len(), min_panels, |range| {
            for (item, some) in split_by_image(range, panels.len()) {
                let [a, b] = pairs[item];
                let end = panels.get(some.end).map_or(length, |panel| panel.start);
                self.run_panels([a, b], &panels[some], end, output.skip(item * m * n));
            }
        });
    }

    /// Computes the columns of some panels of one product, which begins at the start of `output`. The values of the panels end
    /// at `end`.
    fn run_panels(&self, [a, b]: [usize; 2], panels: &[Panel], end: usize, output: OutputView<'_>) {
        let MatmulSize { m, k, n } = self.size;
        let a = &self.a[a * m * k..][..m * k];
        let b = &self.b[b * k * n..][..k * n];
        let first = panels[0];
        let own = |panel: &Panel| Panel {
            start: panel.start - first.start,
            first_column: panel.first_column - first.first_column,
            ..*panel
        };
        let panels: Vec<Panel> = panels.iter().map(own).collect();
        let columns = panels.iter().map(|panel| panel.columns).sum::<usize>();
        with_scratch(Scratch::MatrixPanels, end - first.start, |values| {
            self.isa.run(PackKernel {
                b,
                size: self.size,
                transposed: self.b_transposed,
                first_column: first.first_column,
                panels: &panels,
                values,
            });
            let output = output.skip(first.first_column);
            let job = DenseJob {
                weights: PanelsView { isa: self.isa, values, panels: &panels },
                panels: 0..panels.len(),
                pixels: 0..m,
                depth: DepthLayout { segments: 1, length: k, stride: 0, new_values: k },
                input: a.as_ptr(),
                input_grid: Grid::line(k),
                output: output.output((m - 1) * n + columns),
                output_grid: Grid::line(n),
                residual: std::ptr::null(),
                activation: Activation::Identity,
                bf16_block: std::ptr::null_mut(),
            };
            // SAFETY: the slices above hold `m` rows of `k` values, and the output holds the columns of `m` rows. No two calls
            // have the same panel of the same item.
            unsafe { run_dense(job) };
        });
    }
}

/// Packs the columns of some panels: zeros in place of the bias, and then the values row by row.
struct PackKernel<'a> {
    b: &'a [f32],
    size: MatmulSize,
    transposed: bool,
    /// The column of the first panel.
    first_column: usize,
    panels: &'a [Panel],
    values: &'a mut [f32],
}

impl SafeKernel for PackKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { b, size: MatmulSize { k, n, .. }, transposed, first_column, panels, values } = self;
        for panel in panels {
            let width = panel.vectors * if panel.narrow { S::Narrow::LANES } else { S::LANES };
            let values = &mut values[panel.start..][..width * (k + 1)];
            let (bias, values) = values.split_at_mut(width);
            bias.fill(0.0);
            let column = first_column + panel.first_column;
            if transposed {
                if panel.columns < width {
                    values.fill(0.0);
                }
                transpose::<S>(b, column * k, k as isize, panel.columns, values, width, k);
                continue;
            }
            for (row, values) in values.chunks_exact_mut(width).enumerate() {
                copy_columns(&b[row * n + column..][..panel.columns], values);
            }
        }
    }
}

/// Copies the columns that exist, and fills the rest with zeros.
#[inline(always)]
fn copy_columns(from: &[f32], to: &mut [f32]) {
    /// A copy of a known size is a few instructions.
    const CHUNK: usize = 4;
    let whole = from.len() / CHUNK * CHUNK;
    for (to, from) in to.chunks_exact_mut(CHUNK).zip(from.chunks_exact(CHUNK)) {
        to.copy_from_slice(from);
    }
    for column in whole..to.len() {
        to[column] = if column < from.len() { from[column] } else { 0.0 };
    }
}
