//! Convolution in groups of as many channels as a vector has, or of four.
//!
//! Each group reads as many channels as it returns. A vector of outputs is either a group, whose input values are broadcast one by
//! one, or several groups of four channels, whose values are spread inside each four lanes. The dense kernel would need a copy of
//! the input for each group, and multiply by zeros between groups that share a vector.

use super::activation;
use super::buffers::{ALIGNMENT, AlignedVec};
use super::conv_spec::GeneralConvSpec;
use super::isa::{Isa, Kernel, SafeKernel};
use super::nhwc::{Band, Grid, OutputView};
use super::simd::Simd;
use kiln_ops::Geometry;

/// The weights of a grouped convolution: for each vector of outputs its bias, and then for each tap and each input of the group
/// the weights of its lanes.
#[derive(Clone, Debug)]
pub(super) struct GroupedWeights(AlignedVec);

/// Returns the channels of each group, if the kernel of an instruction set computes the convolution. For groups of several vectors
/// the dense kernel is faster: its copy is small beside the sums, and its tile shares each broadcast between two vectors.
fn group_channels(isa: Isa, spec: &GeneralConvSpec) -> Option<usize> {
    let (lanes, channels) = (isa.lanes(), spec.inputs / spec.groups);
    let fits = channels == lanes || channels == 4 && lanes.is_multiple_of(4);
    (spec.inputs == spec.outputs && fits && spec.outputs.is_multiple_of(lanes)).then_some(channels)
}

impl GroupedWeights {
    /// Packs `weight`, `[outputs, inputs / groups, height, width]`, and `bias`, unless the kernel lacks the convolution.
    pub(super) fn pack(isa: Isa, spec: &GeneralConvSpec, weight: &[f32], bias: &[f32]) -> Option<Self> {
        let channels = group_channels(isa, spec)?;
        let taps = spec.geometry.kernel[0] * spec.geometry.kernel[1];
        let packing = Packing { channels, taps, weight, bias };
        Some(Self(AlignedVec::from_slice(ALIGNMENT, &isa.run(packing))))
    }
}

struct Packing<'a> {
    channels: usize,
    taps: usize,
    weight: &'a [f32],
    bias: &'a [f32],
}

impl SafeKernel for Packing<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self) -> Vec<f32> {
        let Self { channels, taps, weight, bias } = self;
        let mut packed = Vec::with_capacity(weight.len() + bias.len());
        for (block, bias) in bias.chunks_exact(S::LANES).enumerate() {
            packed.extend_from_slice(bias);
            for (tap, input) in (0..taps).flat_map(|tap| (0..channels).map(move |input| (tap, input))) {
                let outputs = block * S::LANES..(block + 1) * S::LANES;
                packed.extend(outputs.map(|output| weight[(output * channels + input) * taps + tap]));
            }
        }
        packed
    }
}

/// The output rows that lie over one band of input.
pub(super) struct GroupedConv<'a> {
    pub(super) spec: &'a GeneralConvSpec,
    pub(super) weights: &'a GroupedWeights,
    pub(super) band: Band<'a>,
    /// The number of output rows.
    pub(super) rows: usize,
    /// Output pixels in a row.
    pub(super) width: usize,
    /// The first of the output rows.
    pub(super) output: OutputView<'a>,
}

/// The activation is left out if it has a second pass.
impl Kernel for GroupedConv<'_> {
    type Output = ();

    /// # Safety
    ///
    /// The band has all values under the output rows, and no other thread has the same output rows.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller keeps the contract.
        unsafe {
            let next = self.run_tiles::<S, 8>(0);
            let next = self.run_tiles::<S, 4>(next);
            self.run_tiles::<S, 1>(next);
        }
    }
}

impl GroupedConv<'_> {
    /// Computes whole tiles of `PIXELS` adjacent pixels, and returns the first pixel that is left.
    ///
    /// # Safety
    ///
    /// The contract of [`Self::run`], and an instruction set that the processor has.
    #[inline(always)]
    unsafe fn run_tiles<S: Simd, const PIXELS: usize>(&self, first: usize) -> usize {
        let GeneralConvSpec { inputs, outputs, groups, geometry, .. } = *self.spec;
        let Geometry { kernel, stride, .. } = geometry;
        let (channels, pixels) = (inputs / groups, self.rows * self.width);
        let grid = Grid { width: self.width, row: stride[0] * self.band.row, pixel: stride[1] * inputs };
        let length = S::LANES * (kernel[0] * kernel[1] * channels + 1);
        let output = self.output.output(pixels * outputs);
        let mut first = first;
        while first + PIXELS <= pixels {
            let offsets = grid.offsets::<PIXELS>(first);
            for (block, weights) in self.weights.0.chunks_exact(length).enumerate() {
                let channel = block * S::LANES;
                // A vector of outputs reads the inputs of the same channels.
                let inputs = offsets.map(|offset| self.band.values.as_ptr().wrapping_add(offset + channel));
                let position = first * outputs + channel;
                // SAFETY: the caller guarantees the instruction set, the values under the pixels and the output rows. The
                // residual has the length of the output.
                unsafe {
                    let sums = self.sum::<S, PIXELS>(inputs, weights, channels);
                    self.finish::<S, PIXELS>(sums, output.add(position), position);
                }
            }
            first += PIXELS;
        }
        first
    }

    /// Offsets of the taps in the band, in the order of the weights.
    #[inline(always)]
    fn taps(&self) -> impl Iterator<Item = usize> + use<> {
        let GeneralConvSpec { inputs, geometry: Geometry { kernel, .. }, dilation, .. } = *self.spec;
        let (down, right) = (dilation[0] * self.band.row, dilation[1] * inputs);
        (0..kernel[0]).flat_map(move |y| (0..kernel[1]).map(move |x| y * down + x * right))
    }

    /// Sums a vector of outputs.
    ///
    /// # Safety
    ///
    /// The contract of [`Self::run_tiles`]; `inputs` are those of the vector's channels under the first tap, `weights` the vector's.
    #[inline(always)]
    unsafe fn sum<S: Simd, const PIXELS: usize>(
        &self,
        inputs: [*const f32; PIXELS],
        weights: &[f32],
        channels: usize,
    ) -> [[S::V; 1]; PIXELS] {
        // SAFETY: the caller guarantees the pointers and the length of the weights.
        unsafe {
            let mut sums = [[S::load(weights.as_ptr())]; PIXELS];
            let mut weight = weights.as_ptr().add(S::LANES);
            for tap in self.taps() {
                let inputs = inputs.map(|input| input.add(tap));
                if channels < S::LANES {
                    add_groups_of_four::<S, PIXELS>(&mut sums, inputs, weight);
                } else {
                    add_group::<S, PIXELS>(&mut sums, inputs, weight);
                }
                weight = weight.add(channels * S::LANES);
            }
            sums
        }
    }

    /// Adds the residual, applies the activation unless it has a second pass, and stores.
    ///
    /// # Safety
    ///
    /// The contract of [`Self::run_tiles`]; `output` is valid for the vector of each pixel.
    #[inline(always)]
    unsafe fn finish<S: Simd, const PIXELS: usize>(
        &self,
        mut sums: [[S::V; 1]; PIXELS],
        output: *mut f32,
        position: usize,
    ) {
        let outputs = self.spec.outputs;
        let residual = self.output.residual();
        // SAFETY: the caller guarantees the output, and the residual has its length.
        unsafe {
            if !residual.is_null() {
                for p in 0..PIXELS {
                    sums[p][0] = S::add(sums[p][0], S::load(residual.add(position + p * outputs)));
                }
            }
            let sums = activation::apply::<S, PIXELS, 1>(self.spec.activation, sums);
            for p in 0..PIXELS {
                S::store(output.add(p * outputs), sums[p][0]);
            }
        }
    }
}

/// Adds the products of one tap, where the vector of outputs is one group: each input value is broadcast.
///
/// # Safety
///
/// The processor has the instruction set. `inputs` are valid for the vector's channels, and `weight` for their weights.
#[inline(always)]
unsafe fn add_group<S: Simd, const PIXELS: usize>(
    sums: &mut [[S::V; 1]; PIXELS],
    inputs: [*const f32; PIXELS],
    weight: *const f32,
) {
    // SAFETY: the caller keeps the contract.
    unsafe {
        for channel in 0..S::LANES {
            let factor = S::load(weight.add(channel * S::LANES));
            for p in 0..PIXELS {
                sums[p][0] = S::mul_add(S::splat(*inputs[p].add(channel)), factor, sums[p][0]);
            }
        }
    }
}

/// Adds the products of one tap, where the vector of outputs is several groups of four channels: a vector of inputs holds those of
/// the same groups.
///
/// # Safety
///
/// As [`add_group`].
#[inline(always)]
unsafe fn add_groups_of_four<S: Simd, const PIXELS: usize>(
    sums: &mut [[S::V; 1]; PIXELS],
    inputs: [*const f32; PIXELS],
    weight: *const f32,
) {
    // SAFETY: the caller keeps the contract.
    unsafe {
        let factors: [S::V; 4] = std::array::from_fn(|index| S::load(weight.add(index * S::LANES)));
        for p in 0..PIXELS {
            let values = S::load(inputs[p]);
            let sum = S::mul_add(S::spread_in_fours::<0>(values), factors[0], sums[p][0]);
            let sum = S::mul_add(S::spread_in_fours::<1>(values), factors[1], sum);
            let sum = S::mul_add(S::spread_in_fours::<2>(values), factors[2], sum);
            sums[p][0] = S::mul_add(S::spread_in_fours::<3>(values), factors[3], sum);
        }
    }
}
