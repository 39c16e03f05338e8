//! Convolutions with groups, dilation or any depthwise window, in NHWC.
//!
//! Convolutions that the fused kernels support are passed on to [`PackedConv`]. Groups that fill vectors have a kernel of their own
//! (`grouped_conv.rs`). Other groups copy their channels of the padded input rows next to each other and run the dense kernel on
//! them. A depthwise convolution sums tap by tap.

use std::ops::Range;

use super::activation::has_second_pass;
use super::buffers::{ALIGNMENT, AlignedVec, Scratch, with_scratch};
use super::context::Context;
use super::conv::PackedConv;
use super::conv_spec::GeneralConvSpec;
use super::dense::{DenseJob, DepthLayout, run_dense};
use super::general_depthwise::GeneralDepthwise;
use super::grouped_conv::{GroupedConv, GroupedWeights};
use super::isa::Isa;
use super::nhwc::{Grid, NhwcBatch, OutputView, for_each_band, split_by_image};
use super::packed_weights::DensePanels;
use super::tensor::{apply_in_place, for_each_rows};
use kiln_ops::Geometry;

/// A convolution with packed weights, ready to run on the CPU.
#[derive(Clone, Debug)]
pub struct PackedGeneralConv {
    spec: GeneralConvSpec,
    isa: Isa,
    /// The fused convolution that does the same. A depthwise one takes no residual.
    fused: Option<PackedConv>,
    weights: Weights,
}

#[derive(Clone, Debug)]
enum Weights {
    /// All are in the fused convolution.
    Fused,
    Depthwise {
        /// `[taps][outputs]`, then the bias.
        taps: AlignedVec,
        /// If there are several outputs for each input channel: a convolution with one output each, for an input whose channels are
        /// repeated. It is much faster, but needs memory for that input.
        repeated: Option<Box<PackedGeneralConv>>,
    },
    /// Groups that fill vectors.
    Grouped(GroupedWeights),
    /// One dense convolution for each group.
    Groups(Vec<DensePanels>),
}

/// The most values of an image whose channels are repeated.
const MAX_REPEATED: usize = 16 << 20;
/// The same in relation to the output. With larger strides, most of the repeated values would not be read.
const MAX_REPEATED_PART: usize = 5;
/// Values of the input rows under some output rows. They fit the second-level cache.
const BAND_VALUES: usize = 48 * 1024;

impl PackedGeneralConv {
    /// Packs `weight`, `[outputs, inputs / groups, height, width]`, and `bias`, `[outputs]`.
    ///
    /// # Panics
    ///
    /// Panics if the number of weights is not that of `spec`, or if the groups do not divide the channels.
    pub fn pack(isa: Isa, spec: GeneralConvSpec, weight: &[f32], bias: &[f32]) -> Self {
        let GeneralConvSpec { inputs, outputs, groups, geometry: Geometry { kernel: [height, width], .. }, .. } = spec;
        assert!(groups > 0 && inputs % groups == 0 && outputs % groups == 0, "groups of {spec:?}");
        assert!(height > 0 && width > 0 && spec.dilation.iter().all(|step| *step > 0), "window of {spec:?}");
        let (group_inputs, taps) = (inputs / groups, height * width);
        let depth = group_inputs * taps;
        assert_eq!(weight.len(), outputs * depth, "weights of {spec:?}");
        assert_eq!(bias.len(), outputs, "bias of {spec:?}");
        let fused = spec.fused().map(|fused| PackedConv::pack(isa, fused, weight, bias));
        let weights = if groups == 1 && fused.is_some() {
            Weights::Fused
        } else if group_inputs == 1 && groups > 1 {
            let tap = |tap: usize| (0..outputs).map(move |channel| weight[channel * taps + tap]);
            let taps = AlignedVec::from_iter(ALIGNMENT, (0..taps).flat_map(tap).chain(bias.iter().copied()));
            let repeated = (outputs > groups).then(|| {
                let spec = GeneralConvSpec { inputs: outputs, groups: outputs, ..spec };
                Box::new(Self::pack(isa, spec, weight, bias))
            });
            Weights::Depthwise { taps, repeated }
        } else if let Some(weights) = GroupedWeights::pack(isa.without_bf16(), &spec, weight, bias) {
            Weights::Grouped(weights)
        } else {
            let joined = joined_groups(isa, &spec);
            let (all_inputs, columns) = (group_inputs * joined, outputs / groups * joined);
            let pack = |first: usize| {
                let bias = &bias[first * columns..][..columns];
                let weight = &weight[first * columns * depth..][..columns * depth];
                // The sum runs over rows, columns and channels. The weights between two joined groups are zero.
                DensePanels::pack(isa, columns, [taps * all_inputs, width * all_inputs], bias, |column, k| {
                    let (tap, channel) = (k / all_inputs, k % all_inputs);
                    let same_group = column / (outputs / groups) == channel / group_inputs;
                    let position = column * depth + channel % group_inputs * taps + tap;
                    if same_group { weight[position] } else { 0.0 }
                })
            };
            Weights::Groups((0..groups / joined).map(pack).collect())
        };
        Self { spec, isa, fused, weights }
    }

    /// Returns the parameters.
    pub fn spec(&self) -> &GeneralConvSpec {
        &self.spec
    }

    /// Fills `output` with `activation(conv(input) + bias + residual)`.
    ///
    /// # Panics
    ///
    /// Panics if the sizes do not match.
    pub(crate) fn run(&self, context: &Context, input: NhwcBatch<'_>, residual: Option<&[f32]>, output: &mut [f32]) {
        let Self { spec, .. } = self;
        assert_eq!(input.channels, spec.inputs, "input channels of {spec:?}");
        if let Some(fused) = &self.fused
            && (residual.is_none() || spec.groups == 1)
        {
            return fused.run(context, input, residual, output);
        }
        let [height, width] = spec.dilated().output_size(input.size);
        let values = input.size[0] * input.size[1] * spec.outputs;
        if let Weights::Depthwise { repeated: Some(conv), .. } = &self.weights
            && values <= MAX_REPEATED.min(MAX_REPEATED_PART * height * width * spec.outputs)
        {
            return run_repeated(conv, context, input, residual, output);
        }
        let row = width * spec.outputs;
        assert_eq!(output.len(), input.count * height * row, "values of the output of {spec:?}");
        let output = OutputView::new(output, residual);
        context.team.for_each_range(input.count * height, height.min(4), |rows| {
            for (image, rows) in split_by_image(rows, height) {
                let first = (image * height + rows.start) * row;
                let view = output.skip(first);
                match &self.weights {
                    Weights::Fused => unreachable!("a fused convolution runs above"),
                    Weights::Grouped(weights) => self.run_grouped(weights, input, image, rows, width, view),
                    Weights::Groups(groups) => self.run_groups(groups, input, image, rows, width, view),
                    Weights::Depthwise { taps, .. } => {
                        let length = rows.len() * row;
                        let residual = residual.map(|values| &values[first..][..length]);
                        // SAFETY: the view checks that the rows exist, and no two ranges have a common row.
                        let output = unsafe { std::slice::from_raw_parts_mut(view.output(length), length) };
                        let kernel =
                            GeneralDepthwise { spec, taps, input, image, rows, width, residual, output: &mut *output };
                        self.isa.run(kernel);
                        if let Some(function) = spec.activation.function() {
                            apply_in_place(self.isa, function, output);
                        }
                    }
                }
            }
        });
    }

    /// Computes some output rows of one image, a band at a time. The first row goes to the start of `output`.
    fn run_grouped(
        &self,
        weights: &GroupedWeights,
        input: NhwcBatch<'_>,
        image: usize,
        rows: Range<usize>,
        width: usize,
        output: OutputView<'_>,
    ) {
        let Self { spec, isa, .. } = self;
        for_each_band(&spec.dilated(), input, image, rows.clone(), |here, band| {
            let output = output.skip((here.start - rows.start) * width * spec.outputs);
            let length = here.len() * width * spec.outputs;
            let kernel = GroupedConv { spec, weights, band, rows: here.len(), width, output };
            // SAFETY: the band has all lines under the rows, each with all values under `width` pixels. Each thread has rows of
            // its own.
            let values = unsafe {
                isa.dispatch(kernel);
                std::slice::from_raw_parts_mut(output.output(length), length)
            };
            if let Some(function) = spec.activation.function().filter(|_| has_second_pass(spec.activation)) {
                apply_in_place(*isa, function, values);
            }
        });
    }

    /// Computes some output rows of one image, a few at a time and group by group. The first row goes to the start of
    /// `output`.
    fn run_groups(
        &self,
        groups: &[DensePanels],
        input: NhwcBatch<'_>,
        image: usize,
        rows: Range<usize>,
        width: usize,
        output: OutputView<'_>,
    ) {
        let GeneralConvSpec { inputs, outputs, geometry, dilation, .. } = self.spec;
        let Geometry { kernel, stride: [down, right], .. } = geometry;
        let (channels, columns) = (inputs / groups.len(), outputs / groups.len());
        let rows_of_window = (kernel[0] - 1) * dilation[0] + 1;
        let layout = BandLayout::new(&self.spec, input.size[1], width, channels);
        let at_once = (BAND_VALUES / (layout.row * groups.len() * down)).max(1);
        for first in rows.clone().step_by(at_once) {
            let here = (first + at_once).min(rows.end) - first;
            let lines = (here - 1) * down + rows_of_window;
            let output = output.skip((first - rows.start) * width * outputs);
            for (group, weights) in groups.iter().enumerate() {
                with_scratch(Scratch::PaddedRows, lines * layout.row, |band| {
                    for (index, line) in band.chunks_exact_mut(layout.row).enumerate() {
                        let y = (first * down + index).checked_sub(geometry.before[0]);
                        match y.filter(|y| *y < input.size[0]) {
                            None => line.fill(0.0),
                            Some(y) => {
                                let length = input.size[1] * inputs;
                                let values = &input.image(image)[y * length..][..length];
                                layout.fill(line, values, group * channels, inputs);
                            }
                        }
                    }
                    let output = output.skip(group * columns);
                    let job = DenseJob {
                        weights: weights.view(),
                        panels: 0..weights.panels.len(),
                        pixels: 0..here * width,
                        depth: DepthLayout {
                            segments: kernel[0],
                            length: kernel[1] * channels,
                            stride: dilation[0] * layout.row,
                            new_values: if dilation == [1, 1] {
                                down.min(kernel[0]) * right.min(kernel[1])
                            } else {
                                kernel[0] * kernel[1]
                            } * channels,
                        },
                        input: band.as_ptr(),
                        input_grid: Grid {
                            width,
                            row: down * layout.row,
                            pixel: if layout.unrolled { kernel[1] } else { right } * channels,
                        },
                        output: output.output((here * width - 1) * outputs + columns),
                        output_grid: Grid::line(outputs),
                        residual: output.residual(),
                        activation: self.spec.activation,
                        bf16_block: std::ptr::null_mut(),
                    };
                    // SAFETY: the band has all lines under `here` output rows, and a line has all values under `width` pixels
                    // (see `BandLayout::new`). The output holds the columns of the group for each pixel, and the residual has
                    // its length. No other thread has the same rows.
                    unsafe { run_dense(job) };
                });
            }
        }
    }
}

/// Runs a depthwise convolution on an input whose channels are repeated until there is one for each output, image by image.
fn run_repeated(
    conv: &PackedGeneralConv,
    context: &Context,
    input: NhwcBatch<'_>,
    residual: Option<&[f32]>,
    output: &mut [f32],
) {
    let times = conv.spec.inputs / input.channels;
    let shape = [1, input.size[0], input.size[1], conv.spec.inputs];
    let mut repeated = context.buffers.take(shape.iter().product());
    let length = output.len() / input.count.max(1);
    for (index, output) in output.chunks_exact_mut(length.max(1)).enumerate() {
        let image = input.image(index);
        for_each_rows(context, &mut repeated, times, 1, |range, repeated| {
            for (values, value) in repeated.chunks_exact_mut(times).zip(&image[range]) {
                values.fill(*value);
            }
        });
        let residual = residual.map(|values| &values[index * length..][..length]);
        conv.run(context, NhwcBatch::new(&repeated, shape), residual, output);
    }
}

/// Returns how many groups are computed as one: as many as fit into a vector of output channels, which would otherwise be
/// partly empty.
fn joined_groups(isa: Isa, spec: &GeneralConvSpec) -> usize {
    let most = isa.lanes() * spec.groups / spec.outputs;
    (1..=most.max(1)).rev().find(|joined| spec.groups.is_multiple_of(*joined)).unwrap_or(1)
}

/// The layout of a line of the band: the channels of one group in an input row.
struct BandLayout {
    channels: usize,
    /// Values in a line.
    row: usize,
    /// Whether the values under each output pixel are adjacent: `[width, taps, channels]`. Otherwise the line is the padded
    /// row, `[padded width, channels]`.
    unrolled: bool,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
}

impl BandLayout {
    fn new(spec: &GeneralConvSpec, input_width: usize, width: usize, channels: usize) -> Self {
        let Geometry { kernel: [_, kernel], stride: [_, stride], before, after } = spec.geometry;
        let (dilation, unrolled) = (spec.dilation[1], spec.dilation[1] > 1);
        let pixels = if unrolled { width * kernel } else { input_width + before[1] + after[1] };
        assert!(unrolled || (width - 1) * stride + kernel <= pixels, "the padded row of {spec:?}");
        Self { channels, row: pixels * channels, unrolled, kernel, stride, dilation, before: before[1] }
    }

    /// Fills a line with the channels from `first` on of an input row, whose pixels have `all` channels.
    fn fill(&self, line: &mut [f32], values: &[f32], first: usize, all: usize) {
        let channels = self.channels;
        for (index, to) in line.chunks_exact_mut(channels).enumerate() {
            let x = if self.unrolled {
                index / self.kernel * self.stride + index % self.kernel * self.dilation
            } else {
                index
            };
            match x.checked_sub(self.before).and_then(|x| values.get(x * all + first..x * all + first + channels)) {
                Some(from) => copy_short(from, to),
                None => to.fill(0.0),
            }
        }
    }
}

/// Copies a few values. A call of the C library would take longer.
#[inline(always)]
fn copy_short(from: &[f32], to: &mut [f32]) {
    const CHUNK: usize = 4;
    let whole = from.len() / CHUNK * CHUNK;
    for (to, from) in to.chunks_exact_mut(CHUNK).zip(from.chunks_exact(CHUNK)) {
        to.copy_from_slice(from);
    }
    to[whole..].iter_mut().zip(&from[whole..]).for_each(|(to, from)| *to = *from);
}
