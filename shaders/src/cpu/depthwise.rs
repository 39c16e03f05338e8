//! Depthwise convolution (each channel by itself), a row of output pixels at a time, vectorised over channels.
//!
//! A tile of output pixels stays in registers while the kernel passes over it, so that an input value is loaded once a
//! kernel row and not once a tap. The rows of the input are given one by one and already padded: that lets them come
//! from a ring buffer, and the kernel know no borders.

use std::ops::Range;

use super::activation::Activation;
use super::aligned::{ALIGNMENT, Aligned};
use super::simd::Simd;
use super::simd::portable::Single;

/// Largest kernel side.
pub(crate) const MAX_SIDE: usize = 7;

/// Weights and bias in the order in which the kernel reads them: `[side * side][channels]`, then the bias.
#[derive(Clone, Debug)]
pub(crate) struct DepthwiseTaps {
    values: Aligned,
    pub(crate) channels: usize,
    pub(crate) side: usize,
}

impl DepthwiseTaps {
    /// Packs weights, of which `weight(channel, tap)` is the one for a tap, counted row by row.
    pub(crate) fn pack(channels: usize, side: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        let weight = &weight;
        let taps = (0..side * side).flat_map(|tap| (0..channels).map(move |channel| weight(channel, tap)));
        Self { values: Aligned::from_iter(ALIGNMENT, taps.chain(bias.iter().copied())), channels, side }
    }
}

/// One call of the kernel: one row of output pixels.
#[derive(Clone, Debug)]
pub(crate) struct DepthwiseJob<'a> {
    pub(crate) taps: &'a DepthwiseTaps,
    /// For each row of the kernel, the first channel under the leftmost tap of the first output pixel.
    pub(crate) rows: [*const f32; MAX_SIDE],
    /// 1 or 2.
    pub(crate) stride: usize,
    /// The first channel of the first output pixel.
    pub(crate) output: *mut f32,
    /// Output pixels.
    pub(crate) width: usize,
    pub(crate) activation: Activation,
}

/// Output pixels in a tile.
const TILE: usize = 8;
/// Vectors of channels that are worked on together: their weights stay in the first-level cache.
const BLOCK: usize = 8;

/// Runs a job.
///
/// # Safety
///
/// The processor has `S`, and every pixel of the job lies within its buffer.
#[inline(always)]
pub(crate) unsafe fn run<S: Simd>(job: &DepthwiseJob<'_>) {
    // SAFETY: the caller's promises, passed on for the window's size.
    unsafe {
        match (job.taps.side, job.stride) {
            (3, 1) => run_sized::<S, 3, 1>(job),
            (3, 2) => run_sized::<S, 3, 2>(job),
            (5, 1) => run_sized::<S, 5, 1>(job),
            (5, 2) => run_sized::<S, 5, 2>(job),
            (7, 1) => run_sized::<S, 7, 1>(job),
            (7, 2) => run_sized::<S, 7, 2>(job),
            (side, stride) => unreachable!("a depthwise kernel of side {side} and stride {stride}"),
        }
    }
}

#[inline(always)]
unsafe fn run_sized<S: Simd, const SIDE: usize, const STRIDE: usize>(job: &DepthwiseJob<'_>) {
    let channels = job.taps.channels;
    if channels < S::LANES {
        // SAFETY: as above; vectors of one value are always there.
        return unsafe { block::<Single, SIDE, STRIDE>(job, 0..channels) };
    }
    for first in (0..channels).step_by(BLOCK * S::LANES) {
        // SAFETY: as above; the block's channels exist.
        unsafe { block::<S, SIDE, STRIDE>(job, first..(first + BLOCK * S::LANES).min(channels)) };
    }
}

/// All output pixels of a few vectors of channels: tile by tile, so that neighbouring channels are read one after the
/// other.
#[inline(always)]
unsafe fn block<S: Simd, const SIDE: usize, const STRIDE: usize>(job: &DepthwiseJob<'_>, channels: Range<usize>) {
    let mut tiles = job.width.div_ceil(TILE);
    let mut x = 0;
    while x < job.width {
        let pixels = (job.width - x).div_ceil(tiles);
        for first in channels.clone().step_by(S::LANES) {
            // The last vector may overlap the one before, which is then computed twice.
            let channel = first.min(job.taps.channels - S::LANES);
            // SAFETY: there are at least as many channels as lanes here, so the last vector lies within them.
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

/// `PIXELS` output pixels of one vector of channels, from output pixel `x` on.
#[inline(always)]
unsafe fn tile<S: Simd, const SIDE: usize, const STRIDE: usize, const PIXELS: usize>(
    job: &DepthwiseJob<'_>,
    channel: usize,
    x: usize,
) {
    let all = job.taps.channels;
    // SAFETY: every row holds what the window passes over, and the output the pixels, says the caller.
    unsafe {
        let taps = job.taps.values.as_ptr().add(channel);
        let mut sums = [[S::load(taps.add(SIDE * SIDE * all))]; PIXELS];
        for ky in 0..SIDE {
            let row = job.rows[ky].add(x * STRIDE * all + channel);
            let weights: [S::V; SIDE] = std::array::from_fn(|kx| S::load(taps.add((ky * SIDE + kx) * all)));
            // Each tap loads its own value: with the load folded into the multiply-add that costs nothing, and a loop over
            // input columns, which would load each once, is too long for the compiler to unroll at stride 2.
            for kx in 0..SIDE {
                for pixel in 0..PIXELS {
                    let value = S::load(row.add((pixel * STRIDE + kx) * all));
                    sums[pixel][0] = S::mul_add(value, weights[kx], sums[pixel][0]);
                }
            }
        }
        let sums = job.activation.apply::<S, PIXELS, 1>(sums);
        for pixel in 0..PIXELS {
            S::store(job.output.add((x + pixel) * all + channel), sums[pixel][0]);
        }
    }
}
