//! Dense convolution (every output channel sees every input channel) as one matrix product over pixels.
//!
//! Rows of the product are pixels, columns are output channels. In NHWC the values under one row of the kernel lie side
//! by side, so a picture is read where it lies: one segment for a pointwise convolution, one a kernel row otherwise.
//! Weights are packed in panels of as many columns as the register tile has (`panels.rs`; the tile is in `tile.rs`). For
//! sums in bfloat16 a block of pixels is converted first, since each of its values is read once for every panel.

mod panels;
mod tile;

use std::ops::Range;

use super::activation::Activation;
use super::grid::Grid;
use super::simd::Simd;
pub(crate) use panels::DensePanels;
use tile::{Place, Source, tile_of};

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
    /// Room for a block of the input in bfloat16; null where the weights are f32.
    pub(crate) converted: *mut f32,
}

/// Values of the input that stay in the second-level cache while all panels pass over them.
const BLOCK: usize = 32 * 1024;
/// The most rows that a tile of any instruction set has.
const MOST_ROWS: usize = 8;

/// Pixels of `depth` values that are worked on at once.
const fn block(depth: usize, tile_rows: usize) -> usize {
    let pixels = BLOCK / depth;
    if pixels < tile_rows { tile_rows } else { pixels.next_multiple_of(tile_rows) }
}

impl DenseJob<'_> {
    fn depth(&self) -> usize {
        self.depth.segments * self.depth.length
    }

    /// How many f32 [`DenseJob::converted`] has to have room for.
    pub(crate) fn conversion_room(&self) -> usize {
        if self.weights.is_reduced() { block(self.depth(), MOST_ROWS) * self.depth().div_ceil(2) } else { 0 }
    }
}

/// Runs a job.
///
/// # Safety
///
/// The processor has `S`, which is what the weights were packed for, and every pixel of the job, of input, output and
/// residual, lies within its buffer. `converted` has the room that the job asks for.
#[inline(always)]
pub(crate) unsafe fn run<S: Simd>(job: &DenseJob<'_>) {
    if job.pixels.is_empty() {
        return;
    }
    for start in job.pixels.clone().step_by(block(job.depth(), S::TILE_ROWS)) {
        let end = (start + block(job.depth(), S::TILE_ROWS)).min(job.pixels.end);
        // SAFETY: the caller's promises; blocks and panels are parts of the job.
        unsafe {
            let source = if S::PACKED == 1 {
                Source { words: job.input, grid: job.input_grid, depth: job.depth, first: 0 }
            } else {
                convert::<S>(job, start..end)
            };
            run_block::<S>(job, &source, start..end);
        }
    }
}

/// All panels over a block of pixels.
#[inline(always)]
unsafe fn run_block<S: Simd>(job: &DenseJob<'_>, source: &Source, pixels: Range<usize>) {
    let first_column = job.weights.panels[job.panels.start].first_column;
    for panel in &job.weights.panels[job.panels.clone()] {
        // SAFETY: a panel's weights start where it says, and its tiles lie within the block of pixels.
        unsafe {
            let values = job.weights.values.as_ptr().add(panel.start);
            let mut first = pixels.start;
            // Tiles as even as can be, so that no short one is left for the end.
            let mut tiles = pixels.len().div_ceil(S::TILE_ROWS);
            while first < pixels.end {
                let rows = (pixels.end - first).div_ceil(tiles);
                let size = (rows, panel.vectors);
                let place = Place { first, column: panel.first_column - first_column, columns: panel.columns };
                if panel.narrow {
                    tile_of::<S, S::Narrow>(size, job, source, values, &place);
                } else {
                    tile_of::<S, S>(size, job, source, values, &place);
                }
                first += rows;
                tiles -= 1;
            }
        }
    }
}

/// Puts the sums' values of a block of pixels one after the other, in pairs.
#[inline(always)]
unsafe fn convert<S: Simd>(job: &DenseJob<'_>, pixels: Range<usize>) -> Source {
    let words = job.depth() / S::PACKED;
    let Depth { segments, length, stride } = job.depth;
    // SAFETY: every pixel lies within the input, and a block's words within the room that the job asked for.
    unsafe {
        let mut to = job.converted;
        for pixel in pixels.clone() {
            let [offset] = job.input_grid.offsets::<1>(pixel);
            let mut from = job.input.add(offset);
            for _ in 0..segments {
                S::convert(from, to, length);
                from = from.wrapping_add(stride);
                to = to.add(length / S::PACKED);
            }
        }
    }
    let depth = Depth { segments: 1, length: words, stride: 0 };
    Source { words: job.converted, grid: Grid::line(words), depth, first: pixels.start }
}
