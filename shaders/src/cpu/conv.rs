//! A convolution of NHWC images, with its bias, residual and activation: packs the weights, checks sizes and splits the work
//! among threads.
//!
//! This is the safe interface of the kernels in `dense.rs` and `depthwise.rs`: it checks every range that they access.

use std::ops::Range;
use std::sync::OnceLock;

use super::activation::{self, SecondPass};
use super::context::Context;
use super::conv_spec::ConvSpec;
use super::dense::{DenseJob, DepthLayout, run_dense};
use super::depthwise::{DepthwiseJob, MAX_SIDE};
use super::isa::Isa;
use super::nhwc::{Band, Grid, NhwcBatch, OutputView, for_each_band, split_by_image};
use super::packed_weights::{DensePanels, DepthwiseTaps};
use super::tensor::InPlace;
use super::winograd::Winograd;
use kiln_ops::Geometry;

/// A convolution with packed weights, ready to run on the CPU.
#[derive(Clone, Debug)]
pub(crate) struct PackedConv {
    spec: ConvSpec,
    isa: Isa,
    weights: Weights,
    /// The weights for Winograd's algorithm, transformed at the first run with a size for which it pays.
    winograd: OnceLock<Winograd>,
}

#[derive(Clone, Debug)]
enum Weights {
    Dense(DensePanels),
    Depthwise(DepthwiseTaps),
}

/// If a thread would get fewer pixels than this, threads share columns instead.
const MIN_PIXELS: usize = 32;
/// The same for rows of a convolution with a window.
const MIN_THREAD_ROWS: usize = 4;

impl PackedConv {
    /// Packs `weight`, `[outputs, inputs / groups, height, width]`, and `bias`, `[outputs]`.
    ///
    /// # Panics
    ///
    /// Panics if the number of weights is not that of `spec`, or if no kernel exists for it.
    pub(crate) fn pack(isa: Isa, spec: ConvSpec, weight: &[f32], bias: &[f32]) -> Self {
        assert!(spec.is_supported(), "no CPU kernel for {spec:?}");
        let ConvSpec { inputs, outputs, geometry: Geometry { kernel: [height, width], .. }, .. } = spec;
        let depth = height * width * if spec.depthwise { 1 } else { inputs };
        assert_eq!(weight.len(), outputs * depth, "weights of {spec:?}");
        assert_eq!(bias.len(), outputs, "bias of {spec:?}");
        let weights = if spec.depthwise {
            Weights::Depthwise(DepthwiseTaps::pack(outputs, height, bias, |channel, tap| weight[channel * depth + tap]))
        } else {
            // The sum runs over rows, columns and channels, which is the order of the values in NHWC.
            let position = |k: usize| (k % inputs) * height * width + k / inputs;
            Weights::Dense(DensePanels::pack(isa, outputs, [depth, width * inputs], bias, |column, k| {
                weight[column * depth + position(k)]
            }))
        };
        Self { spec, isa, weights, winograd: OnceLock::new() }
    }

    /// Returns the output shape, `[count, height, width, channels]`, for an input shape.
    pub(crate) fn output_shape(&self, [count, height, width, _]: [usize; 4]) -> [usize; 4] {
        let [height, width] = self.spec.geometry.output_size([height, width]);
        [count, height, width, self.spec.outputs]
    }

    pub(super) fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// Fills `output` with `activation(conv(input) + bias + residual)`.
    ///
    /// # Panics
    ///
    /// Panics if the sizes do not match, or if a depthwise convolution is given a residual.
    pub(crate) fn run(&self, context: &Context, input: NhwcBatch<'_>, residual: Option<&[f32]>, output: &mut [f32]) {
        let size = self.spec.geometry.output_size(input.size);
        if let Weights::Dense(direct) = &self.weights
            && !direct.view().isa.is_bf16()
            && Winograd::is_faster(&self.spec, size)
        {
            let winograd = self.winograd.get_or_init(|| Winograd::pack(&self.spec, direct));
            return winograd.run(context, &self.spec, input, OutputView::new(output, residual));
        }
        self.run_directly(context, input, residual, output);
    }

    /// Does the same without Winograd's algorithm.
    ///
    /// # Panics
    ///
    /// As [`Self::run`].
    pub(super) fn run_directly(
        &self,
        context: &Context,
        input: NhwcBatch<'_>,
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) {
        let team = &context.team;
        let size = self.spec.geometry.output_size(input.size);
        let pixels = input.count * size[0] * size[1];
        assert_eq!(output.len(), pixels * self.spec.outputs, "values of the output of {:?}", self.spec);
        let output = OutputView::new(output, residual);
        if self.spec.geometry.is_pointwise() {
            // The pixels of all images are rows of one product. If there are few of them, threads share its columns.
            if pixels >= team.available() * MIN_PIXELS {
                team.for_each_range(pixels, MIN_PIXELS, |pixels| {
                    self.run_pixels(input.values, pixels, 0..self.panels(), output);
                });
            } else {
                team.for_each_range(self.panels(), 1, |panels| {
                    self.run_pixels(input.values, 0..pixels, panels, output);
                });
            }
            return;
        }
        if matches!(self.weights, Weights::Dense(_)) && input.count * size[0] < team.available() * MIN_THREAD_ROWS {
            // Few rows: threads share columns instead. Each of them pads the input by itself.
            return team.for_each_range(self.panels(), 1, |panels| {
                let grid = Grid::dense(size[1], self.spec.outputs);
                for image in 0..input.count {
                    let output = output.at_pixel(image * size[0] * size[1], self.spec.outputs);
                    self.run_dense_rows(input, image, 0..size[0], panels.clone(), output, grid);
                }
            });
        }
        team.for_each_range(input.count * size[0], size[0].min(MIN_THREAD_ROWS), |rows| {
            for (image, rows) in split_by_image(rows, size[0]) {
                let output = output.at_pixel((image * size[0] + rows.start) * size[1], self.spec.outputs);
                self.run_rows(input, image, rows, output);
            }
        });
    }

    fn dense(&self) -> &DensePanels {
        match &self.weights {
            Weights::Dense(panels) => panels,
            Weights::Depthwise(_) => panic!("{:?} is depthwise", self.spec),
        }
    }

    /// Returns the number of panels of output channels.
    pub(super) fn panels(&self) -> usize {
        self.dense().panels.len()
    }

    /// Runs a pointwise convolution on some pixels and some panels. `values` are those of all pixels, and pixel 0 goes to the
    /// start of `output`.
    pub(super) fn run_pixels(
        &self,
        values: &[f32],
        pixels: Range<usize>,
        panels: Range<usize>,
        output: OutputView<'_>,
    ) {
        let (inputs, outputs) = (self.spec.inputs, self.spec.outputs);
        assert!(self.spec.geometry.is_pointwise() && pixels.end * inputs <= values.len(), "pixels of {:?}", self.spec);
        output.output(pixels.end * outputs);
        let columns = self.dense().columns_of(panels.clone());
        let output = output.skip(columns.start);
        let job = DenseJob {
            weights: self.dense().view(),
            panels,
            pixels,
            depth: DepthLayout { segments: 1, length: inputs, stride: 0, new_values: inputs },
            input: values.as_ptr(),
            input_grid: Grid::line(inputs),
            output: output.output(0),
            output_grid: Grid::line(outputs),
            residual: output.residual(),
            activation: self.spec.activation,
            bf16_block: std::ptr::null_mut(),
        };
        // SAFETY: the checks above ensure that the input and the output hold every channel of every pixel. The residual has
        // the length of the output.
        unsafe { run_dense(job) };
    }

    /// Runs some output rows of one image. The first row goes to the start of `output`.
    fn run_rows(&self, input: NhwcBatch<'_>, image: usize, rows: Range<usize>, output: OutputView<'_>) {
        let [_, width] = self.spec.geometry.output_size(input.size);
        let outputs = self.spec.outputs;
        match &self.weights {
            Weights::Dense(_) => {
                self.run_dense_rows(input, image, rows, 0..self.panels(), output, Grid::dense(width, outputs));
            }
            Weights::Depthwise(_) => {
                let start = rows.start;
                for_each_band(&self.spec.geometry, input, image, rows, |rows, band| {
                    for (index, row) in rows.enumerate() {
                        let output = output.at_pixel((row - start) * width, outputs);
                        let first = index * self.spec.geometry.stride[0] * band.row;
                        let input_row = |ky: usize| &band.values[first + ky * band.row..][..band.row];
                        self.run_depthwise_row(input_row, width, output);
                    }
                });
            }
        }
    }

    /// Runs some panels of some output rows of one image of a dense convolution. Row `rows.start` goes to the start of `output`, and the
    /// next rows follow with the strides of `grid`.
    pub(super) fn run_dense_rows(
        &self,
        input: NhwcBatch<'_>,
        image: usize,
        rows: Range<usize>,
        panels: Range<usize>,
        output: OutputView<'_>,
        grid: Grid,
    ) {
        let geometry = &self.spec.geometry;
        assert_eq!(input.channels, self.spec.inputs, "input channels of {:?}", self.spec);
        if geometry.is_pointwise() {
            let row = input.size[1] * input.channels;
            let values = &input.image(image)[rows.start * row..rows.end * row];
            return self.run_band(Band { values, row }, rows.len(), panels, output, grid);
        }
        let start = rows.start;
        for_each_band(geometry, input, image, rows, |rows, band| {
            self.run_band(band, rows.len(), panels.clone(), output.skip((rows.start - start) * grid.row), grid);
        });
    }

    /// Computes some panels of `rows` output rows from the input under them.
    fn run_band(&self, band: Band<'_>, rows: usize, panels: Range<usize>, output: OutputView<'_>, grid: Grid) {
        let geometry = &self.spec.geometry;
        let ([height, across], [down, right]) = (geometry.kernel, geometry.stride);
        let new_values = down.min(height) * right.min(across) * self.spec.inputs;
        let depth = DepthLayout { segments: height, length: across * self.spec.inputs, stride: band.row, new_values };
        let last = ((rows - 1) * down + height - 1) * band.row + ((grid.width - 1) * right + across) * self.spec.inputs;
        assert!(last <= band.values.len(), "the input under {rows} rows of {:?}", self.spec);
        let columns = self.dense().columns_of(panels.clone());
        let output = output.skip(columns.start);
        let job = DenseJob {
            weights: self.dense().view(),
            panels,
            pixels: 0..rows * grid.width,
            depth,
            input: band.values.as_ptr(),
            input_grid: Grid { width: grid.width, row: down * band.row, pixel: right * self.spec.inputs },
            output: output.output((rows - 1) * grid.row + (grid.width - 1) * grid.pixel + columns.len()),
            output_grid: grid,
            residual: output.residual(),
            activation: self.spec.activation,
            bf16_block: std::ptr::null_mut(),
        };
        // SAFETY: the checks above cover the last value that the kernel reads and the last that it writes. The residual has
        // the length of the output.
        unsafe { run_dense(job) };
    }

    /// Computes one output row of a depthwise convolution. `input_row` returns the padded input row under each row of the
    /// window.
    pub(super) fn run_depthwise_row<'a>(
        &self,
        input_row: impl Fn(usize) -> &'a [f32],
        width: usize,
        output: OutputView<'_>,
    ) {
        let Weights::Depthwise(taps) = &self.weights else { panic!("{:?} is dense", self.spec) };
        let (channels, stride) = (self.spec.outputs, self.spec.geometry.stride[1]);
        assert!(output.residual().is_null(), "a depthwise convolution takes no residual");
        let needed = ((width - 1) * stride + taps.side) * channels;
        let rows = std::array::from_fn::<_, MAX_SIDE, _>(|ky| {
            if ky >= taps.side {
                return std::ptr::null();
            }
            let row = input_row(ky);
            assert!(row.len() >= needed, "the input under a row of {:?}", self.spec);
            row.as_ptr()
        });
        let job = DepthwiseJob {
            taps,
            rows,
            stride,
            output: output.output(width * channels),
            width,
            activation: self.spec.activation,
        };
        // SAFETY: each row holds the values that the window passes over, and the output holds the pixels.
        unsafe { self.isa.dispatch(&job) };
        let activation = self.spec.activation;
        if activation::has_second_pass(activation) {
            let length = width * channels;
            // SAFETY: the output holds the row, and no other thread has the same row.
            let row = unsafe { std::slice::from_raw_parts_mut(output.output(length), length) };
            self.isa.run(SecondPass { activation, values: InPlace(row) });
        }
    }
}
