//! The parts of a convolution that a thread does by itself: some pixels, some rows, one row. The safe side of the
//! kernels in `dense.rs` and `depthwise.rs`: everything that they read and write is checked here.

use std::ops::Range;

use super::convolution::{PackedConv, Pictures, Weights};
use super::dense::{DenseJob, DensePanels, Depth};
use super::depthwise::{DepthwiseJob, MAX_SIDE};
use super::grid::Grid;
use super::padded::{self, Band};
use super::scratch::{self, Purpose};
use super::target::Target;

impl PackedConv {
    fn dense(&self) -> &DensePanels {
        match &self.weights {
            Weights::Dense(panels) => panels,
            Weights::Depthwise(_) => panic!("{:?} is depthwise", self.spec),
        }
    }

    /// Into how many panels the output channels are divided.
    pub(super) fn panels(&self) -> usize {
        self.dense().count()
    }

    /// Some pixels and some panels of a pointwise convolution. `values` are those of all pixels, and pixel 0 goes to the
    /// start of `target`.
    pub(super) fn run_pixels(&self, values: &[f32], pixels: Range<usize>, panels: Range<usize>, target: Target<'_>) {
        let (inputs, outputs) = (self.spec.inputs, self.spec.outputs);
        assert!(self.spec.geometry.is_pointwise() && pixels.end * inputs <= values.len(), "pixels of {:?}", self.spec);
        target.output(pixels.end * outputs);
        let columns = self.dense().columns_of(panels.clone());
        let target = target.skip(columns.start);
        let job = DenseJob {
            weights: self.dense(),
            panels,
            pixels,
            depth: Depth { segments: 1, length: inputs, stride: 0 },
            input: values.as_ptr(),
            input_grid: Grid::line(inputs),
            output: target.output(0),
            output_grid: Grid::line(outputs),
            residual: target.residual(),
            activation: self.spec.activation,
            converted: std::ptr::null_mut(),
        };
        // SAFETY: input and output hold every channel of every pixel, as was just checked, and the residual is as large
        // as the output.
        unsafe { self.run_dense(job) };
    }

    /// Some output rows of one picture, which go to the start of `target`.
    pub(super) fn run_rows(&self, input: Pictures<'_>, picture: usize, rows: Range<usize>, target: Target<'_>) {
        let [_, width] = self.spec.geometry.output_size(input.size);
        let outputs = self.spec.outputs;
        match &self.weights {
            Weights::Dense(_) => {
                self.run_dense_rows(input, picture, rows, target, Grid::dense(width, outputs));
            }
            Weights::Depthwise(_) => {
                let start = rows.start;
                padded::for_each_band(&self.spec.geometry, input, picture, rows, |rows, band| {
                    for (index, row) in rows.enumerate() {
                        let target = target.at_pixel((row - start) * width, outputs);
                        let first = index * self.spec.geometry.stride[0] * band.row;
                        let under = |ky: usize| &band.values[first + ky * band.row..][..band.row];
                        self.run_depthwise_row(under, width, target);
                    }
                });
            }
        }
    }

    /// Some output rows of one picture of a dense convolution; row `rows.start` goes to the start of `target`, the others
    /// below it in `grid`.
    pub(super) fn run_dense_rows(
        &self,
        input: Pictures<'_>,
        picture: usize,
        rows: Range<usize>,
        target: Target<'_>,
        grid: Grid,
    ) {
        let geometry = &self.spec.geometry;
        assert_eq!(input.channels, self.spec.inputs, "input channels of {:?}", self.spec);
        if geometry.is_pointwise() {
            let row = input.size[1] * input.channels;
            let values = &input.picture(picture)[rows.start * row..rows.end * row];
            return self.run_band(Band { values, row }, rows.len(), target, grid);
        }
        let start = rows.start;
        padded::for_each_band(geometry, input, picture, rows, |rows, band| {
            self.run_band(band, rows.len(), target.skip((rows.start - start) * grid.row), grid);
        });
    }

    /// `rows` output rows from the input under them.
    fn run_band(&self, band: Band<'_>, rows: usize, target: Target<'_>, grid: Grid) {
        let geometry = &self.spec.geometry;
        let ([height, across], [down, right]) = (geometry.kernel, geometry.stride);
        let depth = Depth { segments: height, length: across * self.spec.inputs, stride: band.row };
        let last = ((rows - 1) * down + height - 1) * band.row + ((grid.width - 1) * right + across) * self.spec.inputs;
        assert!(last <= band.values.len(), "the input under {rows} rows of {:?}", self.spec);
        let job = DenseJob {
            weights: self.dense(),
            panels: 0..self.panels(),
            pixels: 0..rows * grid.width,
            depth,
            input: band.values.as_ptr(),
            input_grid: Grid { width: grid.width, row: down * band.row, pixel: right * self.spec.inputs },
            output: target.output((rows - 1) * grid.row + (grid.width - 1) * grid.pixel + self.spec.outputs),
            output_grid: grid,
            residual: target.residual(),
            activation: self.spec.activation,
            converted: std::ptr::null_mut(),
        };
        // SAFETY: the last value that is read and the last that is written were just checked; the residual is as large as
        // the output.
        unsafe { self.run_dense(job) };
    }

    /// # Safety
    ///
    /// That of [`Isa::dense`](super::isa::Isa::dense), but for the room for a conversion, which is found here.
    unsafe fn run_dense(&self, job: DenseJob<'_>) {
        // SAFETY: the caller's promises; where room is asked for, that much is lent out.
        match job.conversion_room() {
            0 => unsafe { self.isa.dense(&job) },
            room => scratch::with(Purpose::Converted, room, |converted| unsafe {
                self.isa.dense(&DenseJob { converted: converted.as_mut_ptr(), ..job });
            }),
        }
    }

    /// One output row of a depthwise convolution. `under` gives the padded input row under each row of the window.
    pub(super) fn run_depthwise_row<'a>(&self, under: impl Fn(usize) -> &'a [f32], width: usize, target: Target<'_>) {
        let Weights::Depthwise(taps) = &self.weights else { panic!("{:?} is dense", self.spec) };
        let (channels, stride) = (self.spec.outputs, self.spec.geometry.stride[1]);
        assert!(target.residual().is_null(), "a depthwise convolution takes no residual");
        let needed = ((width - 1) * stride + taps.side) * channels;
        let rows = std::array::from_fn::<_, MAX_SIDE, _>(|ky| {
            if ky >= taps.side {
                return std::ptr::null();
            }
            let row = under(ky);
            assert!(row.len() >= needed, "the input under a row of {:?}", self.spec);
            row.as_ptr()
        });
        let job = DepthwiseJob {
            taps,
            rows,
            stride,
            output: target.output(width * channels),
            width,
            activation: self.spec.activation,
        };
        // SAFETY: each row has as many values as the window passes over, and the output room for the pixels.
        unsafe { self.isa.depthwise(&job) };
    }
}
