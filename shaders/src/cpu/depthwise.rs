//! Depthwise convolution (each channel by itself), one row of output pixels at a time, vectorised over channels.
//!
//! A tile of output pixels stays in registers while the window passes over it, so that the kernel loads an input value once
//! for each row of the window instead of once for each tap. The caller passes the input rows one by one and with their
//! padding: they can come from a ring buffer, and the kernel handles no borders.

use std::ops::Range;

use kiln_ops::Activation;

use super::activation;
use super::isa::Kernel;
use super::packed_weights::DepthwiseTaps;
use super::simd::Simd;
use super::simd::portable::Single;

/// The largest side of a window.
pub(super) const MAX_SIDE: usize = 7;

/// One call of the kernel: one row of output pixels.
///
/// # Safety
///
/// To run a job, every pixel must lie within its buffer, and no other thread may access the same output.
#[derive(Clone, Debug)]
pub(super) struct DepthwiseJob<'a> {
    pub(super) taps: &'a DepthwiseTaps,
    /// For each row of the window, the first channel under the leftmost tap of the first output pixel.
    pub(super) rows: [*const f32; MAX_SIDE],
    /// 1 or 2.
    pub(super) stride: usize,
    /// The first channel of the first output pixel.
    pub(super) output: *mut f32,
    /// Output pixels.
    pub(super) width: usize,
    pub(super) activation: Activation,
}

/// Output pixels in a tile.
const TILE_PIXELS: usize = 8;
/// Vectors of channels that are computed together, so that their weights stay in the first-level cache.
const BLOCK_VECTORS: usize = 8;

impl Kernel for &DepthwiseJob<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller keeps the contract of the job.
        unsafe {
            match (self.taps.side, self.stride) {
                (3, 1) => run_sized::<S, 3, 1>(self),
                (3, 2) => run_sized::<S, 3, 2>(self),
                (5, 1) => run_sized::<S, 5, 1>(self),
                (5, 2) => run_sized::<S, 5, 2>(self),
                (7, 1) => run_sized::<S, 7, 1>(self),
                (7, 2) => run_sized::<S, 7, 2>(self),
                (side, stride) => unreachable!("a depthwise kernel of side {side} and stride {stride}"),
            }
        }
    }
}

#[inline(always)]
unsafe fn run_sized<S: Simd, const SIDE: usize, const STRIDE: usize>(job: &DepthwiseJob<'_>) {
    let channels = job.taps.channels;
    if channels < S::LANES {
        // SAFETY: the caller keeps the contract of the job; vectors of one value need no instruction set.
        return unsafe { run_block::<Single, SIDE, STRIDE>(job, 0..channels) };
    }
    for first in (0..channels).step_by(BLOCK_VECTORS * S::LANES) {
        // SAFETY: the caller keeps the contract of the job; the channels of the block exist.
        unsafe { run_block::<S, SIDE, STRIDE>(job, first..(first + BLOCK_VECTORS * S::LANES).min(channels)) };
    }
}

/// Computes all output pixels of a few vectors of channels, tile by tile, so that neighbouring channels are read one after
/// the other.
#[inline(always)]
unsafe fn run_block<S: Simd, const SIDE: usize, const STRIDE: usize>(job: &DepthwiseJob<'_>, channels: Range<usize>) {
    let mut tiles = job.width.div_ceil(TILE_PIXELS);
    let mut x = 0;
    while x < job.width {
        let pixels = (job.width - x).div_ceil(tiles);
        for first in channels.clone().step_by(S::LANES) {
            // The last vector may overlap the one before. The kernel then computes their common channels twice.
            let channel = first.min(job.taps.channels - S::LANES);
            // SAFETY: there are at least as many channels as lanes, so that the last vector lies within them.
            unsafe {
                match pixels {
                    1 => tile::<S, SIDE, STRIDE, 1>(job, channel, x),
                    2 => tile::<S, SIDE, STRIDE, 2>(job, channel, x),
                    3 => tile::<S, SIDE, STRIDE, 3>(job, channel, x),
                    4 => tile::<S, SIDE, STRIDE, 4>(job, channel, x),
                    5 => tile::<S, SIDE, STRIDE, 5>(job, channel, x),
                    6 => tile::<S, SIDE, STRIDE, 6>(job, channel, x),
                    7 => tile::<S, SIDE, STRIDE, 7>(job, channel, x),
                    _ => tile::<S, SIDE, STRIDE, 8>(job, channel, x),
                }
            }
        }
        x += pixels;
        tiles -= 1;
    }
}

/// Computes `PIXELS` output pixels of one vector of channels, from output pixel `x` on.
#[inline(always)]
unsafe fn tile<S: Simd, const SIDE: usize, const STRIDE: usize, const PIXELS: usize>(
    job: &DepthwiseJob<'_>,
    channel: usize,
    x: usize,
) {
    let all = job.taps.channels;
    // SAFETY: the caller guarantees that every row holds the values under the window, and that the output holds the pixels.
    unsafe {
        let taps = job.taps.values.as_ptr().add(channel);
        let mut sums = [[S::load(taps.add(SIDE * SIDE * all))]; PIXELS];
        for ky in 0..SIDE {
            let row = job.rows[ky].add(x * STRIDE * all + channel);
            let weights: [S::V; SIDE] = std::array::from_fn(|kx| S::load(taps.add((ky * SIDE + kx) * all)));
            // Each tap loads its own value, which is free as a memory operand of the multiply-add. A loop over input
            // columns would load each value once, but the compiler does not unroll it at stride 2.
            for kx in 0..SIDE {
                for pixel in 0..PIXELS {
                    let value = S::load(row.add((pixel * STRIDE + kx) * all));
                    sums[pixel][0] = S::mul_add(value, weights[kx], sums[pixel][0]);
                }
            }
        }
        let sums = activation::apply::<S, PIXELS, 1>(job.activation, sums);
        for pixel in 0..PIXELS {
            S::store(job.output.add((x + pixel) * all + channel), sums[pixel][0]);
        }
    }
}
