//! Depthwise convolution with any window, stride, dilation and number of outputs for each input, tap by tap.
//!
//! Sums of a few vectors of channels stay in registers while the taps pass. Taps outside the image are skipped, so that the
//! input needs no padding. The kernel in `depthwise.rs` is faster for the windows that it supports, because it computes several
//! pixels at once.

use std::ops::Range;

use super::conv_spec::GeneralConvSpec;
use super::isa::SafeKernel;
use super::nhwc::NhwcBatch;
use super::simd::Simd;
use super::tensor::fma;
use kiln_ops::Geometry;

/// A depthwise convolution of some output rows of one image, without its activation.
pub(super) struct GeneralDepthwise<'a> {
    pub(super) spec: &'a GeneralConvSpec,
    pub(super) taps: &'a [f32],
    pub(super) input: NhwcBatch<'a>,
    pub(super) image: usize,
    pub(super) rows: Range<usize>,
    /// Output pixels in a row.
    pub(super) width: usize,
    pub(super) residual: Option<&'a [f32]>,
    pub(super) output: &'a mut [f32],
}

/// Vectors of channels whose sums stay in registers while all taps pass.
const VECTORS: usize = 4;

impl SafeKernel for GeneralDepthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let GeneralConvSpec { inputs, outputs, .. } = *self.spec;
        for index in 0..self.output.len() / outputs {
            let mut channel = 0;
            if inputs == outputs {
                while channel + VECTORS * S::LANES <= outputs {
                    self.sum_vectors::<S, VECTORS>(index, channel);
                    channel += VECTORS * S::LANES;
                }
                while channel + S::LANES <= outputs {
                    self.sum_vectors::<S, 1>(index, channel);
                    channel += S::LANES;
                }
            }
            while channel < outputs {
                self.sum_channel::<S>(index, channel);
                channel += 1;
            }
        }
    }
}

impl GeneralDepthwise<'_> {
    /// Calls `work` with each tap of the window of an output pixel that lies within the image, and with its input pixel.
    #[inline(always)]
    fn for_each_tap(&self, index: usize, mut work: impl FnMut(usize, usize)) {
        let GeneralConvSpec { geometry: Geometry { kernel, stride, before, .. }, dilation, .. } = *self.spec;
        let [height, width] = self.input.size;
        let top = (self.rows.start + index / self.width) * stride[0];
        let left = index % self.width * stride[1];
        for ky in 0..kernel[0] {
            let y = (top + ky * dilation[0]).wrapping_sub(before[0]);
            if y >= height {
                continue;
            }
            for kx in 0..kernel[1] {
                let x = (left + kx * dilation[1]).wrapping_sub(before[1]);
                if x < width {
                    work(ky * kernel[1] + kx, y * width + x);
                }
            }
        }
    }

    /// Computes some vectors of channels of output pixel `index`. Input and output have the same channels.
    #[inline(always)]
    fn sum_vectors<S: Simd, const COUNT: usize>(&mut self, index: usize, channel: usize) {
        let GeneralConvSpec { outputs, geometry: Geometry { kernel, .. }, .. } = *self.spec;
        let (taps, length) = (kernel[0] * kernel[1], COUNT * S::LANES);
        let values = self.input.image(self.image);
        let bias = &self.taps[taps * outputs + channel..][..length];
        // SAFETY: each slice has the length of the vectors. A kernel runs only on a processor with the instruction set.
        unsafe {
            let mut sums: [S::V; COUNT] = std::array::from_fn(|v| S::load(bias.as_ptr().add(v * S::LANES)));
            self.for_each_tap(index, |tap, pixel| {
                let weights = &self.taps[tap * outputs + channel..][..length];
                let values = &values[pixel * outputs + channel..][..length];
                for v in 0..COUNT {
                    let weight = S::load(weights.as_ptr().add(v * S::LANES));
                    sums[v] = S::mul_add(S::load(values.as_ptr().add(v * S::LANES)), weight, sums[v]);
                }
            });
            if let Some(residual) = self.residual {
                let residual = &residual[index * outputs + channel..][..length];
                for v in 0..COUNT {
                    sums[v] = S::add(sums[v], S::load(residual.as_ptr().add(v * S::LANES)));
                }
            }
            let output = &mut self.output[index * outputs + channel..][..length];
            for v in 0..COUNT {
                S::store(output.as_mut_ptr().add(v * S::LANES), sums[v]);
            }
        }
    }

    /// Computes one channel of output pixel `index`.
    #[inline(always)]
    fn sum_channel<S: Simd>(&mut self, index: usize, channel: usize) {
        let GeneralConvSpec { inputs, outputs, geometry: Geometry { kernel, .. }, .. } = *self.spec;
        let from = channel / (outputs / inputs);
        let values = self.input.image(self.image);
        let mut sum = self.taps[kernel[0] * kernel[1] * outputs + channel];
        self.for_each_tap(index, |tap, pixel| {
            sum = fma::<S>(values[pixel * inputs + from], self.taps[tap * outputs + channel], sum);
        });
        self.output[index * outputs + channel] =
            sum + self.residual.map_or(0.0, |values| values[index * outputs + channel]);
    }
}
