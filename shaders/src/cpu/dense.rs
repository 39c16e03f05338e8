//! Dense convolution (every output channel sees every input channel) as one matrix product over pixels.
//!
//! Rows of the product are pixels, columns are output channels. In NHWC the values under one row of the kernel lie side
//! by side, so a picture is read where it lies: one segment for a pointwise convolution, one a kernel row otherwise.
//! Weights are packed in panels of as many columns as the register tile has.

use std::ops::Range;

use super::activation::Activation;
use super::aligned::{ALIGNMENT, Aligned};
use super::grid::Grid;
use super::simd::Simd;

/// How the values of one pixel's sum lie in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Runs of values without a gap: one for each row of the kernel.
    pub(crate) segments: usize,
    /// Values in a segment.
    pub(crate) length: usize,
    /// From the start of a segment to the next.
    pub(crate) stride: usize,
}

/// Weights and bias in the order in which the kernel reads them.
///
/// Panel by panel: the bias of its columns, then for each value of the sum the weights of its columns; columns that
/// are missing in the last vector are zero.
#[derive(Clone, Debug)]
pub(crate) struct DensePanels {
    values: Aligned,
    panels: Vec<Panel>,
}

#[derive(Clone, Copy, Debug)]
struct Panel {
    start: usize,
    first_column: usize,
    columns: usize,
    vectors: usize,
    /// Made of [`Simd::Narrow`].
    narrow: bool,
}

impl DensePanels {
    /// Packs weights, of which `weight(column, k)` is the one for value `k` of the sum.
    pub(crate) fn pack<S: Simd>(
        columns: usize,
        depth: usize,
        bias: &[f32],
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let (mut values, mut panels) = (Vec::new(), Vec::new());
        let mut first_column = 0;
        for (vectors, narrow) in widths::<S>(columns) {
            let width = vectors * if narrow { S::Narrow::LANES } else { S::LANES };
            let here = width.min(columns - first_column);
            panels.push(Panel { start: values.len(), first_column, columns: here, vectors, narrow });
            let column = |offset: usize| (offset < here).then_some(first_column + offset);
            values.extend((0..width).map(|offset| column(offset).map_or(0.0, |c| bias[c])));
            for k in 0..depth {
                values.extend((0..width).map(|offset| column(offset).map_or(0.0, |c| weight(c, k))));
            }
            first_column += here;
        }
        Self { values: Aligned::from_slice(ALIGNMENT, &values), panels }
    }

    /// How many panels there are.
    pub(crate) fn count(&self) -> usize {
        self.panels.len()
    }

    /// The columns of some panels.
    pub(crate) fn columns_of(&self, panels: Range<usize>) -> Range<usize> {
        let last = &self.panels[panels.end - 1];
        self.panels[panels.start].first_column..last.first_column + last.columns
    }
}

/// The vectors of each panel, and whether they are narrow ones.
fn widths<S: Simd>(columns: usize) -> Vec<(usize, bool)> {
    let rest = columns % S::LANES;
    let narrow = S::Narrow::LANES < S::LANES && (1..=S::Narrow::LANES).contains(&rest);
    let vectors = if narrow { columns / S::LANES } else { columns.div_ceil(S::LANES) };
    let count = vectors.div_ceil(S::TILE_VECTORS);
    // As even as can be: five vectors are three and two, not three, one and one.
    let wide = (0..count).map(|index| (vectors / count + usize::from(index < vectors % count), false));
    wide.chain(narrow.then_some((1, true))).collect()
}

/// One call of the kernel: some pixels, some panels.
#[derive(Clone, Debug)]
pub(crate) struct DenseJob<'a> {
    pub(crate) weights: &'a DensePanels,
    pub(crate) panels: Range<usize>,
    pub(crate) pixels: Range<usize>,
    pub(crate) depth: Depth,
    pub(crate) input: *const f32,
    pub(crate) input_grid: Grid,
    /// Where the first column of the first panel goes.
    pub(crate) output: *mut f32,
    pub(crate) output_grid: Grid,
    /// What is added before the activation; laid out as the output. Null for nothing.
    pub(crate) residual: *const f32,
    pub(crate) activation: Activation,
}

/// Values of the input that stay in the second-level cache while all panels pass over them.
const BLOCK: usize = 32 * 1024;

/// Runs a job.
///
/// # Safety
///
/// The processor has `S`, and every pixel of the job, of input, output and residual, lies within its buffer.
#[inline(always)]
pub(crate) unsafe fn run<S: Simd>(job: &DenseJob<'_>) {
    let total = job.pixels.len();
    if total == 0 {
        return;
    }
    let depth = job.depth.segments * job.depth.length;
    let block = (BLOCK / depth).max(S::TILE_ROWS).next_multiple_of(S::TILE_ROWS);
    let first_column = job.weights.panels[job.panels.start].first_column;
    for start in job.pixels.clone().step_by(block) {
        let end = (start + block).min(job.pixels.end);
        for panel in &job.weights.panels[job.panels.clone()] {
            unsafe {
                let values = job.weights.values.as_ptr().add(panel.start);
                let mut first = start;
                // Tiles as even as can be, so that no short one is left for the end.
                let mut tiles = (end - start).div_ceil(S::TILE_ROWS);
                while first < end {
                    let rows = (end - first).div_ceil(tiles);
                    let place = Place { first, column: panel.first_column - first_column, columns: panel.columns };
                    if panel.narrow {
                        tile_of::<S, S::Narrow>(rows, panel.vectors, job, values, &place);
                    } else {
                        tile_of::<S, S>(rows, panel.vectors, job, values, &place);
                    }
                    first += rows;
                    tiles -= 1;
                }
            }
        }
    }
}

/// Where a tile's results go.
struct Place {
    /// The first pixel.
    first: usize,
    /// The first column, counted from the job's first.
    column: usize,
    /// Columns that exist; the last vector may have fewer than its lanes.
    columns: usize,
}

/// Calls the tile of this size, of at most as many rows as `S` has, made of `T`'s vectors.
#[inline(always)]
unsafe fn tile_of<S: Simd, T: Simd>(rows: usize, vectors: usize, job: &DenseJob<'_>, panel: *const f32, place: &Place) {
    macro_rules! by_size {
        ($($rows:literal)*) => {
            match (rows, vectors) {
                $(
                    ($rows, 1) => unsafe { tile::<T, $rows, 1>(job, panel, place) },
                    ($rows, 2) if T::LANES == S::LANES => unsafe { tile::<T, $rows, 2>(job, panel, place) },
                    ($rows, 3) if T::TILE_VECTORS >= 3 => unsafe { tile::<T, $rows, 3>(job, panel, place) },
                )*
                _ => unreachable!("a tile of {rows} rows and {vectors} vectors"),
            }
        };
    }
    if S::TILE_ROWS <= 4 {
        by_size!(1 2 3 4)
    } else if S::TILE_ROWS <= 6 {
        by_size!(1 2 3 4 5 6)
    } else {
        by_size!(1 2 3 4 5 6 7 8)
    }
}

/// The register tile: `ROWS` pixels by `VECTORS` vectors of columns, summed over the whole depth.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(job: &DenseJob<'_>, panel: *const f32, place: &Place) {
    unsafe {
        let mut rows = job.input_grid.offsets::<ROWS>(place.first).map(|offset| job.input.add(offset));
        let bias: [S::V; VECTORS] = std::array::from_fn(|v| S::load(panel.add(v * S::LANES)));
        let mut sums = [bias; ROWS];
        let mut weights = panel.add(VECTORS * S::LANES);
        for _ in 0..job.depth.segments {
            for k in 0..job.depth.length {
                let w: [S::V; VECTORS] = std::array::from_fn(|v| S::load(weights.add(v * S::LANES)));
                for r in 0..ROWS {
                    let x = S::splat(*rows[r].add(k));
                    for v in 0..VECTORS {
                        sums[r][v] = S::mul_add(x, w[v], sums[r][v]);
                    }
                }
                weights = weights.add(VECTORS * S::LANES);
            }
            rows = rows.map(|row| row.wrapping_add(job.depth.stride));
        }
        finish::<S, ROWS, VECTORS>(job, place, sums);
    }
}

/// Residual, activation and store.
#[inline(always)]
unsafe fn finish<S: Simd, const ROWS: usize, const VECTORS: usize>(
    job: &DenseJob<'_>,
    place: &Place,
    mut sums: [[S::V; VECTORS]; ROWS],
) {
    let offsets = job.output_grid.offsets::<ROWS>(place.first).map(|offset| offset + place.column);
    let whole = place.columns == VECTORS * S::LANES;
    unsafe {
        if !whole {
            return finish_part::<S, ROWS, VECTORS>(job, place.columns, offsets, sums);
        }
        if !job.residual.is_null() {
            for r in 0..ROWS {
                for v in 0..VECTORS {
                    sums[r][v] = S::add(sums[r][v], S::load(job.residual.add(offsets[r] + v * S::LANES)));
                }
            }
        }
        let sums = job.activation.apply::<S, ROWS, VECTORS>(sums);
        for r in 0..ROWS {
            for v in 0..VECTORS {
                S::store(job.output.add(offsets[r] + v * S::LANES), sums[r][v]);
            }
        }
    }
}

/// The same for a panel whose last vector is not full: by way of a buffer, since nothing beyond it may be touched.
#[inline(always)]
unsafe fn finish_part<S: Simd, const ROWS: usize, const VECTORS: usize>(
    job: &DenseJob<'_>,
    columns: usize,
    offsets: [usize; ROWS],
    mut sums: [[S::V; VECTORS]; ROWS],
) {
    // The widest vector has 16 lanes, the widest tile three vectors.
    let mut buffer = [0.0_f32; 48];
    unsafe {
        for r in 0..ROWS {
            if !job.residual.is_null() {
                std::ptr::copy_nonoverlapping(job.residual.add(offsets[r]), buffer.as_mut_ptr(), columns);
                for v in 0..VECTORS {
                    sums[r][v] = S::add(sums[r][v], S::load(buffer.as_ptr().add(v * S::LANES)));
                }
            }
        }
        let sums = job.activation.apply::<S, ROWS, VECTORS>(sums);
        for r in 0..ROWS {
            for v in 0..VECTORS {
                S::store(buffer.as_mut_ptr().add(v * S::LANES), sums[r][v]);
            }
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), job.output.add(offsets[r]), columns);
        }
    }
}
