//! Pooling (the maximum or the mean of each channel under a window), and scaling of each channel by a factor.
//!
//! A window as large as the image is global pooling.

use std::ops::Range;

use super::context::Context;
use super::isa::Kernel;
use super::nhwc::{NhwcBatch, OutputView, split_by_image};
use super::simd::Simd;
use super::simd::portable::Single;
use kiln_ops::{Geometry, Pooling};

/// Pools each image by a window.
///
/// # Panics
///
/// Panics if the sizes do not match.
pub(crate) fn pool(context: &Context, pooling: Pooling, geometry: &Geometry, input: NhwcBatch<'_>, output: &mut [f32]) {
    let [height, width] = geometry.output_size(input.size);
    let row = width * input.channels;
    assert_eq!(output.len(), input.count * height * row, "values of a pooled batch");
    let (output, isa) = (OutputView::new(output, None), context.isa());
    context.team.for_each_range(input.count * height, height.div_ceil(2), |rows| {
        for (image, rows) in split_by_image(rows, height) {
            let job = PoolJob {
                pooling,
                input: input.image(image).as_ptr(),
                input_size: input.size,
                channels: input.channels,
                kernel: geometry.kernel,
                stride: geometry.stride,
                padding: geometry.before,
                output: output.skip(image * height * row).output(height * row),
                output_width: width,
                rows,
            };
            // SAFETY: the image and the output have the sizes of the job, and no two jobs share an output row.
            unsafe { isa.dispatch(&job) };
        }
    });
}

/// Multiplies each channel of each image by its own value of `gate`, `[count, channels]`.
///
/// # Panics
///
/// Panics if the sizes do not match.
pub(crate) fn scale(input: NhwcBatch<'_>, gate: &[f32], output: &mut [f32]) {
    assert_eq!(gate.len(), input.count * input.channels, "values of a gate");
    assert_eq!(output.len(), input.values.len(), "values of a scaled batch");
    let image = input.size[0] * input.size[1] * input.channels;
    let images = output.chunks_exact_mut(image).zip(input.values.chunks_exact(image));
    // One multiplication for each value is too little work to share among threads.
    for ((output, input_values), gate) in images.zip(gate.chunks_exact(input.channels)) {
        let pixels = output.chunks_exact_mut(input.channels).zip(input_values.chunks_exact(input.channels));
        for (output, pixel) in pixels {
            for ((output, value), factor) in output.iter_mut().zip(pixel).zip(gate) {
                *output = value * factor;
            }
        }
    }
}

/// One call of the pooling kernel: some output rows of one image.
///
/// # Safety
///
/// To run a job, input and output must have the sizes of the job, and no other thread may access the same output rows.
#[derive(Clone, Debug)]
struct PoolJob {
    pooling: Pooling,
    /// `[height, width, channels]` without gaps.
    input: *const f32,
    input_size: [usize; 2],
    channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    /// Rows above, columns on the left.
    padding: [usize; 2],
    /// `[height, width, channels]` of the whole output image.
    output: *mut f32,
    output_width: usize,
    rows: Range<usize>,
}

impl PoolJob {
    /// Returns the input rows (axis 0) or columns (axis 1) under the window of output row or column `index`.
    #[inline(always)]
    fn window(&self, axis: usize, index: usize) -> Range<usize> {
        let start = index * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]).min(self.input_size[axis]);
        start.saturating_sub(self.padding[axis])..end
    }
}

impl Kernel for &PoolJob {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for y in self.rows.clone() {
            for x in 0..self.output_width {
                let (rows, columns) = (self.window(0, y), self.window(1, x));
                let whole = self.channels / S::LANES * S::LANES;
                // SAFETY: each window is clipped to the image, and every vector lies within the channels.
                unsafe {
                    let output = self.output.add((y * self.output_width + x) * self.channels);
                    for channel in (0..whole).step_by(S::LANES) {
                        S::store(output.add(channel), pool_window::<S>(self, &rows, &columns, channel));
                    }
                    for channel in whole..self.channels {
                        Single::store(output.add(channel), pool_window::<Single>(self, &rows, &columns, channel));
                    }
                }
            }
        }
    }
}

/// Pools one vector of channels under one window.
#[inline(always)]
unsafe fn pool_window<S: Simd>(job: &PoolJob, rows: &Range<usize>, columns: &Range<usize>, channel: usize) -> S::V {
    // SAFETY: the caller guarantees that the window lies within the image, and the vector within the channels.
    unsafe {
        let is_max = job.pooling == Pooling::Max;
        let mut result = S::splat(if is_max { f32::NEG_INFINITY } else { 0.0 });
        for y in rows.clone() {
            for x in columns.clone() {
                let value = S::load(job.input.add((y * job.input_size[1] + x) * job.channels + channel));
                result = if is_max { S::max(result, value) } else { S::add(result, value) };
            }
        }
        let count = match job.pooling {
            Pooling::Max => return result,
            Pooling::Average => rows.len() * columns.len(),
            Pooling::AverageWithPadding => job.kernel[0] * job.kernel[1],
        };
        S::mul(result, S::splat(1.0 / count as f32))
    }
}
