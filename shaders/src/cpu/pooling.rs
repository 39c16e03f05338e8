//! Pooling: the largest or the mean value of each channel under a window. A window as large as the picture is global
//! pooling.

use std::ops::Range;

use super::simd::Simd;
use super::simd::portable::Single;

/// What a window makes of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest; padding never is.
    Max,
    /// The mean of the values that are not padding.
    Average,
    /// The sum of the values, divided by the size of the window.
    AverageWithPadding,
}

/// One call of the kernel: one picture, some output rows.
#[derive(Clone, Debug)]
pub(crate) struct PoolJob {
    pub(crate) pooling: Pooling,
    /// `[height, width, channels]`, laid out densely.
    pub(crate) input: *const f32,
    pub(crate) input_size: [usize; 2],
    pub(crate) channels: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Rows above, columns on the left.
    pub(crate) padding: [usize; 2],
    /// `[height, width, channels]` of the whole output picture.
    pub(crate) output: *mut f32,
    pub(crate) output_width: usize,
    pub(crate) rows: Range<usize>,
}

impl PoolJob {
    /// The input rows, or columns, under the window of output row, or column, `index`.
    #[inline(always)]
    fn under(&self, axis: usize, index: usize) -> Range<usize> {
        let start = index * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]).min(self.input_size[axis]);
        start.saturating_sub(self.padding[axis])..end
    }
}

/// Runs a job.
///
/// # Safety
///
/// The processor has `S`, and input and output are as large as the job says.
#[inline(always)]
pub(crate) unsafe fn run<S: Simd>(job: &PoolJob) {
    for y in job.rows.clone() {
        for x in 0..job.output_width {
            let (rows, columns) = (job.under(0, y), job.under(1, x));
            let whole = job.channels / S::LANES * S::LANES;
            // SAFETY: windows are cut to the picture, and channels end where they are said to.
            unsafe {
                let output = job.output.add((y * job.output_width + x) * job.channels);
                for channel in (0..whole).step_by(S::LANES) {
                    S::store(output.add(channel), window::<S>(job, &rows, &columns, channel));
                }
                for channel in whole..job.channels {
                    Single::store(output.add(channel), window::<Single>(job, &rows, &columns, channel));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn window<S: Simd>(job: &PoolJob, rows: &Range<usize>, columns: &Range<usize>, channel: usize) -> S::V {
    // SAFETY: the caller's window lies within the picture.
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
