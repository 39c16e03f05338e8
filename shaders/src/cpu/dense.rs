//! Dense convolution (every output channel reads every input channel) as one matrix product over pixels.
//!
//! Rows of the product are pixels, columns are output channels. In NHWC the values under one row of the window are
//! adjacent, so the kernel reads an image in place: one segment for a pointwise convolution, otherwise one segment for each
//! row of the window. Weights are packed in panels of as many columns as the register tile has. For bfloat16 products a
//! block of pixels is converted first, because every panel reads each of its values once.

use std::ops::Range;

use kiln_ops::Activation;

use super::activation::{self, SecondPass};
use super::buffers::{Scratch, with_scratch};
use super::isa::Kernel;
use super::nhwc::Grid;
use super::packed_weights::PanelsView;
use super::simd::Simd;
use super::tensor::ValueLoop;

/// The layout of the input values that one output pixel sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DepthLayout {
    /// Runs of adjacent values: one for each row of the window.
    pub(super) segments: usize,
    /// Values in a segment.
    pub(super) length: usize,
    /// Distance between the starts of two segments.
    pub(super) stride: usize,
    /// Values that a pixel reads in addition to those of its neighbours: windows overlap.
    pub(super) new_values: usize,
}

/// One call of the kernel: some pixels and some panels.
#[derive(Clone, Debug)]
pub(super) struct DenseJob<'a> {
    pub(super) weights: PanelsView<'a>,
    pub(super) panels: Range<usize>,
    pub(super) pixels: Range<usize>,
    pub(super) depth: DepthLayout,
    pub(super) input: *const f32,
    pub(super) input_grid: Grid,
    /// The output of pixel 0 in the first column of the first panel.
    pub(super) output: *mut f32,
    pub(super) output_grid: Grid,
    /// Values to add before the activation, laid out like the output; null if there are none.
    pub(super) residual: *const f32,
    pub(super) activation: Activation,
    /// Memory for a block of the input in bfloat16, of [`DenseJob::bf16_block_len`] values.
    pub(super) bf16_block: *mut f32,
}

/// Input values, without those that windows share, that stay in the second-level cache while all panels read them.
const BLOCK_VALUES: usize = 32 * 1024;
/// The maximum of [`Simd::TILE_ROWS`] over all instruction sets.
const MAX_TILE_ROWS: usize = 8;

/// Returns the number of pixels in a block, if each reads `values` more values.
const fn block_pixels(values: usize, tile_rows: usize) -> usize {
    let pixels = BLOCK_VALUES / values;
    if pixels < tile_rows { tile_rows } else { pixels.next_multiple_of(tile_rows) }
}

impl DenseJob<'_> {
    /// Runs the job with the instruction set that its weights are packed for.
    ///
    /// # Safety
    ///
    /// Every pixel of the job lies within its buffer: in the input, in the output, and in the residual if there is one. No
    /// other thread accesses the same output. `bf16_block` is valid for [`DenseJob::bf16_block_len`] values.
    pub(super) unsafe fn run(&self) {
        // SAFETY: the caller keeps the contract, and the instruction set is that of the weights.
        unsafe { self.weights.isa.dispatch(self) };
    }

    /// Returns the required length of [`DenseJob::bf16_block`] in f32 values: 0 for f32 weights.
    pub(super) fn bf16_block_len(&self) -> usize {
        if self.weights.isa.is_bf16() {
            block_pixels(self.depth(), MAX_TILE_ROWS) * self.depth().div_ceil(2)
        } else {
            0
        }
    }

    /// Returns the number of values in a sum.
    fn depth(&self) -> usize {
        self.depth.segments * self.depth.length
    }
}

/// Runs a job, with scratch memory for its bfloat16 block if it needs one.
///
/// # Safety
///
/// The contract of [`DenseJob::run`], without `bf16_block`.
pub(super) unsafe fn run_dense(job: DenseJob<'_>) {
    let run = |job: &DenseJob<'_>| {
        // SAFETY: the caller keeps the contract, and below `bf16_block` gets the length that the job requires.
        unsafe { job.run() };
    };
    match job.bf16_block_len() {
        0 => run(&job),
        length => with_scratch(Scratch::Bf16Block, length, |block| {
            run(&DenseJob { bf16_block: block.as_mut_ptr(), ..job });
        }),
    }
}

impl Kernel for &DenseJob<'_> {
    type Output = ();
    const USES_BF16: bool = true;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        if self.pixels.is_empty() {
            return;
        }
        // The conversion to bfloat16 copies every value of every sum.
        let values = if S::VALUES_PER_WORD == 1 { self.depth.new_values } else { self.depth() };
        let pixels = block_pixels(values, S::TILE_ROWS);
        for start in self.pixels.clone().step_by(pixels) {
            let end = (start + pixels).min(self.pixels.end);
            // SAFETY: the caller keeps the contract of `DenseJob::run`; a block is a part of the job.
            unsafe {
                let input = if S::VALUES_PER_WORD == 1 {
                    TileInput { words: self.input, grid: self.input_grid, depth: self.depth, first: 0 }
                } else {
                    convert_block::<S>(self, start..end)
                };
                run_block::<S>(self, &input, start..end);
            }
        }
    }
}

/// The words that tiles read: the input itself, or its copy in bfloat16.
#[derive(Clone, Copy)]
struct TileInput {
    words: *const f32,
    grid: Grid,
    depth: DepthLayout,
    /// The pixel at the start of `words`.
    first: usize,
}

/// The destination of a tile.
struct TileOutput {
    /// The first pixel.
    first: usize,
    /// The first column, counted from the first column of the job.
    column: usize,
    /// Columns of the panel. The last vector may have fewer than its lanes.
    columns: usize,
}

/// Runs all panels over a block of pixels.
#[inline(always)]
unsafe fn run_block<S: Simd>(job: &DenseJob<'_>, input: &TileInput, pixels: Range<usize>) {
    let first_column = job.weights.panels[job.panels.start].first_column;
    for panel in &job.weights.panels[job.panels.clone()] {
        // SAFETY: the values of a panel begin at `panel.start`, and its tiles lie within the block of pixels.
        unsafe {
            let values = job.weights.values.as_ptr().add(panel.start);
            let mut first = pixels.start;
            // The tiles are as even as possible, so that no short one remains at the end.
            let mut tiles = pixels.len().div_ceil(S::TILE_ROWS);
            while first < pixels.end {
                let rows = (pixels.end - first).div_ceil(tiles);
                let size = (rows, panel.vectors);
                let output = TileOutput { first, column: panel.first_column - first_column, columns: panel.columns };
                if panel.narrow {
                    run_tile::<S, S::Narrow>(size, job, input, values, &output);
                } else {
                    run_tile::<S, S>(size, job, input, values, &output);
                }
                if activation::has_second_pass(job.activation) {
                    finish_tile(job, rows, output);
                }
                first += rows;
                tiles -= 1;
            }
        }
    }
}

/// Runs the second pass of the activation over a tile that has just been stored.
///
/// # Safety
///
/// The pixels and columns of the tile lie within the output, and no other thread accesses them.
#[cold]
#[inline(never)]
unsafe fn finish_tile(job: &DenseJob<'_>, rows: usize, output: TileOutput) {
    let pass = SecondPass { activation: job.activation, values: StoredTile { job, rows, output } };
    job.weights.isa.run(pass);
}

/// The output of a tile. It is still in the first-level cache when the second pass of the activation reads it.
struct StoredTile<'a> {
    job: &'a DenseJob<'a>,
    rows: usize,
    output: TileOutput,
}

impl ValueLoop for StoredTile<'_> {
    #[inline(always)]
    fn run(self, function: impl Fn(f32) -> f32) {
        let TileOutput { first, column, columns } = self.output;
        let offsets = self.job.output_grid.offsets::<MAX_TILE_ROWS>(first);
        for offset in &offsets[..self.rows] {
            // SAFETY: the caller of `finish_tile` guarantees the output of the tile.
            let row = unsafe { std::slice::from_raw_parts_mut(self.job.output.add(offset + column), columns) };
            // Loops of a known length become a few vectors, without a prologue and an epilogue that take longer than the rest.
            let mut wide = row.chunks_exact_mut(WIDE);
            for values in &mut wide {
                map_all::<WIDE>(values, &function);
            }
            let mut narrow = wide.into_remainder().chunks_exact_mut(NARROW);
            for values in &mut narrow {
                map_all::<NARROW>(values, &function);
            }
            for value in narrow.into_remainder() {
                *value = function(*value);
            }
        }
    }
}

/// Values of the widest vector, and of the next one.
const WIDE: usize = 16;
const NARROW: usize = 8;

/// Replaces `LENGTH` values by their function.
#[inline(always)]
fn map_all<const LENGTH: usize>(values: &mut [f32], function: &impl Fn(f32) -> f32) {
    for value in &mut values[..LENGTH] {
        *value = function(*value);
    }
}

/// Converts the input values of a block of pixels to bfloat16. The values of each sum become adjacent.
#[inline(always)]
unsafe fn convert_block<S: Simd>(job: &DenseJob<'_>, pixels: Range<usize>) -> TileInput {
    let words = job.depth() / S::VALUES_PER_WORD;
    let DepthLayout { segments, length, stride, .. } = job.depth;
    // SAFETY: every pixel lies within the input, and the words of a block fit into `bf16_block`.
    unsafe {
        let mut to = job.bf16_block;
        for pixel in pixels.clone() {
            let [offset] = job.input_grid.offsets::<1>(pixel);
            let mut from = job.input.add(offset);
            for _ in 0..segments {
                S::pack_words(from, to, length);
                from = from.wrapping_add(stride);
                to = to.add(length / S::VALUES_PER_WORD);
            }
        }
    }
    let depth = DepthLayout { segments: 1, length: words, stride: 0, new_values: words };
    TileInput { words: job.bf16_block, grid: Grid::line(words), depth, first: pixels.start }
}

/// Calls [`tile`] for a size that is known only at run time. The tile has at most as many rows as that of `S`, and consists
/// of vectors of `T`.
#[inline(always)]
unsafe fn run_tile<S: Simd, T: Simd>(
    (rows, vectors): (usize, usize),
    job: &DenseJob<'_>,
    input: &TileInput,
    panel: *const f32,
    output: &TileOutput,
) {
    macro_rules! by_size {
        ($($rows:literal)*) => {
            // SAFETY: the caller guarantees the pixels and columns of a tile of this size.
            unsafe {
                match (rows, vectors) {
                    $(
                        ($rows, 1) => tile::<T, $rows, 1>(job, input, panel, output),
                        ($rows, 2) if T::LANES == S::LANES => tile::<T, $rows, 2>(job, input, panel, output),
                        ($rows, 3) if T::TILE_VECTORS >= 3 => tile::<T, $rows, 3>(job, input, panel, output),
                    )*
                    _ => unreachable!("a tile of {rows} rows and {vectors} vectors"),
                }
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

/// The register tile: sums `ROWS` pixels by `VECTORS` vectors of columns over the whole depth.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    job: &DenseJob<'_>,
    input: &TileInput,
    panel: *const f32,
    output: &TileOutput,
) {
    // SAFETY: the caller guarantees the input and the weights of the pixels and columns of this tile.
    unsafe {
        let mut rows = input.grid.offsets::<ROWS>(output.first - input.first).map(|offset| input.words.add(offset));
        let bias: [S::V; VECTORS] = std::array::from_fn(|v| S::load(panel.add(v * S::LANES)));
        let mut sums = [bias; ROWS];
        let mut weights = panel.add(VECTORS * S::LANES);
        for _ in 0..input.depth.segments {
            for k in 0..input.depth.length {
                let w: [S::V; VECTORS] = std::array::from_fn(|v| S::load(weights.add(v * S::LANES)));
                for r in 0..ROWS {
                    let x = S::splat(*rows[r].add(k));
                    for v in 0..VECTORS {
                        sums[r][v] = S::dot(x, w[v], sums[r][v]);
                    }
                }
                weights = weights.add(VECTORS * S::LANES);
            }
            rows = rows.map(|row| row.wrapping_add(input.depth.stride));
        }
        store_tile::<S, ROWS, VECTORS>(job, output, sums);
    }
}

/// Adds the residual, applies the activation and stores the result.
#[inline(always)]
unsafe fn store_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    job: &DenseJob<'_>,
    output: &TileOutput,
    mut sums: [[S::V; VECTORS]; ROWS],
) {
    let offsets = job.output_grid.offsets::<ROWS>(output.first).map(|offset| offset + output.column);
    let whole = output.columns == VECTORS * S::LANES;
    // SAFETY: the caller guarantees the pixels of the output and the residual. A panel whose last vector is not full takes
    // the other path, which accesses only its columns.
    unsafe {
        if !whole {
            return store_partial_tile::<S, ROWS, VECTORS>(job, output.columns, offsets, sums);
        }
        if !job.residual.is_null() {
            for r in 0..ROWS {
                for v in 0..VECTORS {
                    sums[r][v] = S::add(sums[r][v], S::load(job.residual.add(offsets[r] + v * S::LANES)));
                }
            }
        }
        let sums = activation::apply::<S, ROWS, VECTORS>(job.activation, sums);
        for r in 0..ROWS {
            for v in 0..VECTORS {
                S::store(job.output.add(offsets[r] + v * S::LANES), sums[r][v]);
            }
        }
    }
}

/// Does the same for a panel whose last vector is not full. A buffer holds each row, because the kernel must not access
/// memory beyond the columns.
#[inline(always)]
unsafe fn store_partial_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    job: &DenseJob<'_>,
    columns: usize,
    offsets: [usize; ROWS],
    mut sums: [[S::V; VECTORS]; ROWS],
) {
    // The widest vector has 16 lanes, and the widest tile has three vectors.
    let mut buffer = [0.0_f32; 48];
    // SAFETY: the copies access only columns that exist, and the buffer holds a row of the widest tile.
    unsafe {
        for r in 0..ROWS {
            if !job.residual.is_null() {
                std::ptr::copy_nonoverlapping(job.residual.add(offsets[r]), buffer.as_mut_ptr(), columns);
                for v in 0..VECTORS {
                    sums[r][v] = S::add(sums[r][v], S::load(buffer.as_ptr().add(v * S::LANES)));
                }
            }
        }
        let sums = activation::apply::<S, ROWS, VECTORS>(job.activation, sums);
        for r in 0..ROWS {
            for v in 0..VECTORS {
                S::store(buffer.as_mut_ptr().add(v * S::LANES), sums[r][v]);
            }
            std::ptr::copy_nonoverlapping(buffer.as_ptr(), job.output.add(offsets[r]), columns);
        }
    }
}
