//! Dense 3x3 convolutions of stride 1 by Winograd's algorithm F(4x4, 3x3): a quarter of the multiplications.
//!
//! An output tile of 4x4 pixels needs an input tile of 6x6. Both transforms are products with small fixed matrices from both
//! sides; between them, each of the 36 positions of the tile is a matrix product over channels, which the dense kernel
//! computes for a block of tiles. Results differ from the direct sum by some 1e-5 of the largest value, and a value
//! that is not finite spreads to its whole tile. See Lavin and Gray,
//! "Fast Algorithms for Convolutional Neural Networks" (2015), whose matrices these are.

use kiln_ops::Activation;

use super::activation::{self, SecondPass};
use super::buffers::{Scratch, with_scratch};
use super::context::Context;
use super::conv_spec::ConvSpec;
use super::dense::{DenseJob, DepthLayout, run_dense};
use super::isa::Kernel;
use super::nhwc::{Grid, NhwcBatch, OutputView};
use super::packed_weights::DensePanels;
use super::simd::Simd;
use super::tensor::InPlace;

/// Height and width of an output tile.
const TILE: usize = 4;
/// Height and width of an input tile.
const INPUT_TILE: usize = TILE + 2;
/// Values of an input tile.
const POSITIONS: usize = INPUT_TILE * INPUT_TILE;
/// Channels come in multiples of this: whole vectors on every instruction set.
const CHANNELS: usize = 8;
/// With fewer channels, the transforms take as long as the products that they save.
const MIN_CHANNELS: usize = 32;
/// With fewer tiles in an image, reading the weights takes as long: there are four times as many.
const MIN_TILES: usize = 9;
/// The most weights of a convolution after the transform: 512 by 512 channels have 36 MiB.
const MAX_WEIGHTS: usize = 10 << 20;
/// Transformed values of a block of tiles, input and output, that stay in the cache.
const BLOCK_VALUES: usize = 128 * 1024;
/// The fewest tiles in a block, even if it exceeds the cache: each block reads all weights.
const MIN_BLOCK: usize = 24;
/// The fewest tiles for another thread, and the fewest if each thread gets a single part.
const MIN_THREAD_TILES: usize = 8;
const MIN_ONLY_TILES: usize = 4;

/// The transformed weights of a convolution: a matrix `[inputs, outputs]` for each position.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    positions: Vec<DensePanels>,
    bias: Vec<f32>,
    /// A pixel outside of the image.
    zeros: Vec<f32>,
}

impl Winograd {
    /// Returns whether the algorithm is faster than the direct sum for a convolution with an output of this size. It does not
    /// depend on the number of images: an image gives the same values in every batch.
    pub(super) fn is_faster(spec: &ConvSpec, [height, width]: [usize; 2]) -> bool {
        let ConvSpec { inputs, outputs, geometry, depthwise, .. } = spec;
        let is_shape = !depthwise && geometry.kernel == [3, 3] && geometry.stride == [1, 1];
        let has_channels =
            [inputs, outputs].iter().all(|channels| channels.is_multiple_of(CHANNELS) && **channels >= MIN_CHANNELS);
        let tiles = height.div_ceil(TILE) * width.div_ceil(TILE);
        is_shape && has_channels && tiles >= MIN_TILES && POSITIONS * inputs * outputs <= MAX_WEIGHTS
    }

    /// Transforms the weights of a convolution, packed for the direct sum.
    pub(super) fn pack(spec: &ConvSpec, direct: &DensePanels) -> Self {
        let ConvSpec { inputs, outputs, .. } = *spec;
        let (bias, weight) = direct.unpack(9 * inputs);
        let mut transformed = vec![0.0; POSITIONS * inputs * outputs];
        for index in 0..inputs * outputs {
            let tap = |y: usize, x: usize| weight[(y * 3 + x) * inputs * outputs + index];
            let rows: [[f32; INPUT_TILE]; 3] =
                std::array::from_fn(|x| transform_taps([tap(0, x), tap(1, x), tap(2, x)]));
            for y in 0..INPUT_TILE {
                for (x, value) in transform_taps([rows[0][y], rows[1][y], rows[2][y]]).into_iter().enumerate() {
                    transformed[(y * INPUT_TILE + x) * inputs * outputs + index] = value;
                }
            }
        }
        let none = vec![0.0; outputs];
        let matrix = |weights: &[f32]| {
            DensePanels::pack(direct.view().isa, outputs, [inputs, inputs], &none, |column, k| {
                weights[k * outputs + column]
            })
        };
        Self {
            positions: transformed.chunks_exact(inputs * outputs).map(matrix).collect(),
            bias,
            zeros: vec![0.0; inputs],
        }
    }

    /// Fills the output of a batch with `activation(conv(input) + bias + residual)`.
    ///
    /// # Panics
    ///
    /// Panics if the output is shorter than that of the batch.
    pub(super) fn run(&self, context: &Context, spec: &ConvSpec, input: NhwcBatch<'_>, output: OutputView<'_>) {
        let size = spec.geometry.output_size(input.size);
        assert_eq!(input.channels, spec.inputs, "input channels of {spec:?}");
        output.output(input.count * size[0] * size[1] * spec.outputs);
        let grid = size.map(|side| side.div_ceil(TILE));
        let at_once = BLOCK_VALUES / (POSITIONS * (spec.inputs + spec.outputs));
        let tiles = input.count * grid[0] * grid[1];
        let min_tiles = MIN_THREAD_TILES.min((tiles / context.team.available()).max(MIN_ONLY_TILES));
        context.team.for_each_range(tiles, min_tiles, |tiles| {
            let blocks = tiles.len().div_ceil(at_once.max(MIN_BLOCK));
            for index in 0..blocks {
                let end = |index: usize| tiles.start + tiles.len() * index / blocks;
                let block = Block { weights: self, spec, input, output, size, grid, first: end(index) };
                block.run(end(index + 1) - end(index));
            }
        });
    }
}

/// One side of the transform of a filter.
fn transform_taps([a, b, c]: [f32; 3]) -> [f32; INPUT_TILE] {
    [a / 4.0, -(a + b + c) / 6.0, -(a - b + c) / 6.0, (a + 2.0 * b + 4.0 * c) / 24.0, (a - 2.0 * b + 4.0 * c) / 24.0, c]
}

/// Some tiles, counted through all images.
#[derive(Clone, Copy)]
struct Block<'a> {
    weights: &'a Winograd,
    spec: &'a ConvSpec,
    input: NhwcBatch<'a>,
    /// The output of the first image.
    output: OutputView<'a>,
    /// Height and width of the output.
    size: [usize; 2],
    /// Rows and columns of tiles in an image.
    grid: [usize; 2],
    first: usize,
}

impl Block<'_> {
    fn run(&self, count: usize) {
        let (Block { spec, weights, .. }, isa) = (self, self.weights.positions[0].view().isa);
        let (inputs, outputs) = (count * spec.inputs, count * spec.outputs);
        with_scratch(Scratch::WinogradInput, POSITIONS * inputs, |values| {
            with_scratch(Scratch::WinogradOutput, POSITIONS * outputs, |products| {
                // SAFETY: `values` holds every position of the tiles.
                unsafe { isa.dispatch(InputTransform { block: self, count, to: values.as_mut_ptr() }) };
                for (position, matrix) in weights.positions.iter().enumerate() {
                    let job = DenseJob {
                        weights: matrix.view(),
                        panels: 0..matrix.panels.len(),
                        pixels: 0..count,
                        depth: DepthLayout { segments: 1, length: spec.inputs, stride: 0, new_values: spec.inputs },
                        input: values[position * inputs..][..inputs].as_ptr(),
                        input_grid: Grid::line(spec.inputs),
                        output: products[position * outputs..][..outputs].as_mut_ptr(),
                        output_grid: Grid::line(spec.outputs),
                        residual: std::ptr::null(),
                        activation: Activation::Identity,
                        bf16_block: std::ptr::null_mut(),
                    };
                    // SAFETY: the slices hold the channels of every tile.
                    unsafe { run_dense(job) };
                }
                // SAFETY: `products` holds every position of the tiles, and no other block has the same tiles.
                unsafe { isa.dispatch(OutputTransform { block: self, count, from: products.as_ptr() }) };
            });
        });
        if activation::has_second_pass(spec.activation) {
            for index in 0..count {
                let tile = self.tile(index);
                for y in 0..tile.rows {
                    let length = tile.columns * spec.outputs;
                    let row = self.output.skip(self.output_offset(&tile, y)).output(length);
                    // SAFETY: the view checks that the values exist, and no other block has the same tiles.
                    let row = unsafe { std::slice::from_raw_parts_mut(row, length) };
                    isa.run(SecondPass { activation: spec.activation, values: InPlace(row) });
                }
            }
        }
    }

    fn tile(&self, index: usize) -> Tile {
        let [rows, columns] = self.grid;
        let index = self.first + index;
        let [y, x] = [index / columns % rows * TILE, index % columns * TILE];
        let [height, width] = self.size;
        Tile { image: index / columns / rows, y, x, rows: TILE.min(height - y), columns: TILE.min(width - x) }
    }

    /// The position of the first pixel of a row of a tile in the output.
    fn output_offset(&self, tile: &Tile, row: usize) -> usize {
        let [height, width] = self.size;
        ((tile.image * height + tile.y + row) * width + tile.x) * self.spec.outputs
    }
}

/// A tile of the output.
struct Tile {
    image: usize,
    /// The first row.
    y: usize,
    /// The first column.
    x: usize,
    /// Rows inside the image.
    rows: usize,
    /// Columns inside the image.
    columns: usize,
}

/// Transforms the input tiles of a block into `[position][tile][channel]`.
struct InputTransform<'a> {
    block: &'a Block<'a>,
    count: usize,
    to: *mut f32,
}

impl Kernel for InputTransform<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { block: Block { input, spec, weights, .. }, count, to } = self;
        let (channels, [height, width]) = (spec.inputs, input.size);
        let before = spec.geometry.before;
        for index in 0..count {
            let Tile { image, y, x, .. } = self.block.tile(index);
            let image = input.image(image);
            let inside = |from: usize, before: usize, side: usize| from >= before && from - before + INPUT_TILE <= side;
            // SAFETY: `to` holds every position of every tile. Both functions return pixels of the image, or of zeros.
            unsafe {
                let to = to.add(index * channels);
                if inside(y, before[0], height) && inside(x, before[1], width) {
                    let first = image.as_ptr().add(((y - before[0]) * width + x - before[1]) * channels);
                    let pixel = |y: usize, x: usize| first.add((y * width + x) * channels);
                    transform_input::<S>(pixel, channels, to, count * channels);
                } else {
                    let offset = |at: usize, from: usize, before: usize, side: usize| {
                        (from + at).checked_sub(before).filter(|at| *at < side)
                    };
                    let rows: [_; INPUT_TILE] = std::array::from_fn(|at| offset(at, y, before[0], height));
                    let columns: [_; INPUT_TILE] = std::array::from_fn(|at| offset(at, x, before[1], width));
                    let pixels: [[*const f32; INPUT_TILE]; INPUT_TILE] = rows.map(|y| {
                        columns.map(|x| match (y, x) {
                            (Some(y), Some(x)) => image[(y * width + x) * channels..][..channels].as_ptr(),
                            _ => weights.zeros.as_ptr(),
                        })
                    });
                    transform_input::<S>(|y, x| pixels[y][x], channels, to, count * channels);
                }
            }
        }
    }
}

/// Transforms the input of one tile. `pixel` returns the channels of a pixel, and `step` values lie between positions.
///
/// # Safety
///
/// The processor has `S`; each pixel has `channels` values, a multiple of [`CHANNELS`]; `to` holds every position.
#[inline(always)]
unsafe fn transform_input<S: Simd>(
    pixel: impl Fn(usize, usize) -> *const f32,
    channels: usize,
    to: *mut f32,
    step: usize,
) {
    let mut first = 0;
    // SAFETY: the vectors lie within the channels.
    unsafe {
        while first + S::LANES <= channels {
            transform_input_vector::<S>(&pixel, first, to, step);
            first += S::LANES;
        }
        while first < channels {
            transform_input_vector::<S::Narrow>(&pixel, first, to, step);
            first += S::Narrow::LANES;
        }
    }
}

#[inline(always)]
unsafe fn transform_input_vector<S: Simd>(
    pixel: &impl Fn(usize, usize) -> *const f32,
    first: usize,
    to: *mut f32,
    step: usize,
) {
    // SAFETY: the caller guarantees a whole vector of every pixel and position.
    unsafe {
        let mut columns = [[S::splat(0.0); INPUT_TILE]; INPUT_TILE];
        for x in 0..INPUT_TILE {
            let column: [S::V; INPUT_TILE] = std::array::from_fn(|y| S::load(pixel(y, x).add(first)));
            let column = input_side::<S>(column);
            for y in 0..INPUT_TILE {
                columns[y][x] = column[y];
            }
        }
        for y in 0..INPUT_TILE {
            let row = input_side::<S>(columns[y]);
            for x in 0..INPUT_TILE {
                S::store(to.add((y * INPUT_TILE + x) * step + first), row[x]);
            }
        }
    }
}

/// One side of the transform of an input tile.
#[inline(always)]
unsafe fn input_side<S: Simd>(d: [S::V; INPUT_TILE]) -> [S::V; INPUT_TILE] {
    // SAFETY: the block only computes with vectors of `S`, and the caller guarantees the instruction set.
    unsafe {
        let [two, four, minus_five] = [S::splat(2.0), S::splat(4.0), S::splat(-5.0)];
        let [even, odd] = [S::mul_add(S::splat(-4.0), d[2], d[4]), S::mul_add(S::splat(-4.0), d[1], d[3])];
        let [outer, inner] = [subtract::<S>(d[4], d[2]), S::mul(two, subtract::<S>(d[3], d[1]))];
        [
            S::mul_add(four, d[0], S::mul_add(minus_five, d[2], d[4])),
            S::add(even, odd),
            subtract::<S>(even, odd),
            S::add(outer, inner),
            subtract::<S>(outer, inner),
            S::mul_add(four, d[1], S::mul_add(minus_five, d[3], d[5])),
        ]
    }
}

#[inline(always)]
unsafe fn subtract<S: Simd>(a: S::V, b: S::V) -> S::V {
    // SAFETY: as in `input_side`.
    unsafe { S::mul_add(S::splat(-1.0), b, a) }
}

/// Transforms the products of a block, `[position][tile][channel]`, into output pixels.
struct OutputTransform<'a> {
    block: &'a Block<'a>,
    count: usize,
    from: *const f32,
}

impl Kernel for OutputTransform<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { block, count, from } = self;
        let channels = block.spec.outputs;
        for index in 0..count {
            let tile = block.tile(index);
            let view = block.output.skip(block.output_offset(&tile, 0));
            let row = block.size[1] * channels;
            let target = TileTarget {
                output: view.output((tile.rows - 1) * row + tile.columns * channels),
                residual: view.residual(),
                bias: block.weights.bias.as_ptr(),
                activation: block.spec.activation,
                rows: tile.rows,
                columns: tile.columns,
                row,
                channels,
            };
            // SAFETY: `from` holds every position of every tile. The view checks that the pixels of the tile exist, and the
            // residual has the length of the output.
            unsafe {
                let (from, mut first) = (from.add(index * channels), 0);
                while first + S::LANES <= channels {
                    target.fill::<S>(from, count * channels, first);
                    first += S::LANES;
                }
                while first < channels {
                    target.fill::<S::Narrow>(from, count * channels, first);
                    first += S::Narrow::LANES;
                }
            }
        }
    }
}

/// The pixels of a tile in the output and in the residual, which may be null.
struct TileTarget {
    output: *mut f32,
    residual: *const f32,
    bias: *const f32,
    activation: Activation,
    /// Rows and columns inside the image.
    rows: usize,
    columns: usize,
    /// Distance between rows.
    row: usize,
    channels: usize,
}

impl TileTarget {
    /// Computes a vector of channels from `first` on.
    #[inline(always)]
    unsafe fn fill<S: Simd>(&self, from: *const f32, step: usize, first: usize) {
        // SAFETY: the caller guarantees a whole vector of every position, of the bias and of every pixel.
        unsafe {
            let mut columns = [[S::splat(0.0); INPUT_TILE]; TILE];
            for x in 0..INPUT_TILE {
                let column = std::array::from_fn(|y| S::load(from.add((y * INPUT_TILE + x) * step + first)));
                let column = output_side::<S>(column);
                for y in 0..TILE {
                    columns[y][x] = column[y];
                }
            }
            let bias = S::load(self.bias.add(first));
            for y in 0..self.rows {
                let mut pixels = [output_side::<S>(columns[y])];
                let offset = y * self.row + first;
                for x in 0..TILE {
                    pixels[0][x] = S::add(pixels[0][x], bias);
                }
                if !self.residual.is_null() {
                    for x in 0..self.columns {
                        let residual = S::load(self.residual.add(offset + x * self.channels));
                        pixels[0][x] = S::add(pixels[0][x], residual);
                    }
                }
                let pixels = activation::apply::<S, 1, TILE>(self.activation, pixels);
                for x in 0..self.columns {
                    S::store(self.output.add(offset + x * self.channels), pixels[0][x]);
                }
            }
        }
    }
}

/// One side of the transform of the products.
#[inline(always)]
unsafe fn output_side<S: Simd>(m: [S::V; INPUT_TILE]) -> [S::V; TILE] {
    // SAFETY: the block only computes with vectors of `S`, and the caller guarantees the instruction set.
    unsafe {
        let [sum, difference] = [S::add(m[1], m[2]), subtract::<S>(m[1], m[2])];
        let [sum_2, difference_2] = [S::add(m[3], m[4]), subtract::<S>(m[3], m[4])];
        [
            S::add(m[0], S::add(sum, sum_2)),
            S::mul_add(S::splat(2.0), difference_2, difference),
            S::mul_add(S::splat(4.0), sum_2, sum),
            S::add(m[5], S::mul_add(S::splat(8.0), difference_2, difference)),
        ]
    }
}
