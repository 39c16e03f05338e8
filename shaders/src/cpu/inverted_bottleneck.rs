//! The inverted bottleneck: a dense, a depthwise and a pointwise convolution, computed a few rows at a time; also without the
//! last one.
//!
//! The output of the first convolution is too large for the second-level cache, and the last convolution makes it small
//! again. The rows in between therefore go into a ring buffer just large enough for the depthwise window. The depthwise
//! convolution reads them while they are in the cache, and they never reach memory. Only at the border between two threads
//! are rows computed twice.

use std::ops::Range;

use super::buffers::{Scratch, with_scratch};
use super::context::Context;
use super::conv::PackedConv;
use super::nhwc::{Grid, NhwcBatch, OutputView, split_by_image};
use kiln_ops::Geometry;

/// Values of the ring buffer: a quarter of a small second-level cache.
const RING_VALUES: usize = 64 * 1024;
/// If the output has fewer rows than this, threads are used better when they share each convolution by itself.
const MIN_ROWS: usize = 28;

/// The convolutions. The second one is depthwise, and the last one is pointwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InvertedBottleneck<'a> {
    pub(crate) first: &'a PackedConv,
    pub(crate) depthwise: &'a PackedConv,
    /// None if the network needs the output of the depthwise convolution as a whole, as squeeze-and-excitation does.
    pub(crate) last: Option<&'a PackedConv>,
}

impl InvertedBottleneck<'_> {
    /// Returns the output shape, `[count, height, width, channels]`, for an input shape.
    pub(crate) fn output_shape(&self, input: [usize; 4]) -> [usize; 4] {
        let shape = self.depthwise.output_shape(self.first.output_shape(input));
        self.last.map_or(shape, |last| last.output_shape(shape))
    }

    /// Returns whether threads are used better when they share each convolution by itself.
    fn prefers_separate(&self, context: &Context, input: [usize; 4]) -> bool {
        let [count, rows, ..] = self.output_shape(input);
        let threads = context.available_threads();
        threads > 1 && count < threads && rows < MIN_ROWS
    }

    /// Fills `output` with the results of the last convolution; without one, with those of the depthwise one.
    ///
    /// # Panics
    ///
    /// Panics if the sizes do not match, or if there is a residual and no last convolution.
    pub(crate) fn run(&self, context: &Context, input: NhwcBatch<'_>, residual: Option<&[f32]>, output: &mut [f32]) {
        let input_shape = [input.count, input.size[0], input.size[1], input.channels];
        let shape = self.output_shape(input_shape);
        assert_eq!(output.len(), shape.iter().product::<usize>(), "values of the output of an inverted bottleneck");
        if self.prefers_separate(context, input_shape) {
            return self.run_separately(context, input, input_shape, residual, output);
        }
        let [_, height, width, channels] = shape;
        let output = OutputView::new(output, residual);
        context.team.for_each_range(input.count * height, height.div_ceil(2), |rows| {
            for (image, rows) in split_by_image(rows, height) {
                let output = output.at_pixel((image * height + rows.start) * width, channels);
                self.run_rows(input, image, rows, width, output);
            }
        });
    }

    /// Runs one convolution after the other.
    fn run_separately(
        &self,
        context: &Context,
        input: NhwcBatch<'_>,
        shape: [usize; 4],
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) {
        let wide_shape = self.first.output_shape(shape);
        let mut wide = context.buffers.take(wide_shape.iter().product());
        // As in `run_rows`: an image gives the same values in every batch and with every number of threads.
        self.first.run_directly(context, input, None, &mut wide);
        let Some(last) = self.last else {
            return self.depthwise.run(context, NhwcBatch::new(&wide, wide_shape), residual, output);
        };
        let narrow_shape = self.depthwise.output_shape(wide_shape);
        let mut narrow = context.buffers.take(narrow_shape.iter().product());
        self.depthwise.run(context, NhwcBatch::new(&wide, wide_shape), None, &mut narrow);
        last.run(context, NhwcBatch::new(&narrow, narrow_shape), residual, output);
    }

    /// Computes some output rows, of `width` pixels, of one image.
    fn run_rows(&self, input: NhwcBatch<'_>, image: usize, rows: Range<usize>, width: usize, output: OutputView<'_>) {
        let geometry = self.depthwise.spec().geometry;
        let (down, side) = (geometry.stride[0], geometry.kernel[0]);
        let layout = RingLayout::new(self, input.size);
        let at_once = (RING_VALUES / layout.row).saturating_sub(side).div_ceil(down).clamp(1, rows.len());
        let ring_rows = (at_once - 1) * down + side;
        let channels = self.depthwise.spec().outputs;
        with_scratch(Scratch::Ring, (ring_rows + 1) * layout.row, |buffer| {
            layout.clear_padding(buffer, &geometry);
            let (ring, zeros) = buffer.split_at_mut(ring_rows * layout.row);
            let scratch = if self.last.is_some() { at_once * width * channels } else { 0 };
            with_scratch(Scratch::DepthwiseRows, scratch, |depthwise_rows| {
                let mut ready = (rows.start * down).saturating_sub(geometry.before[0]);
                for first in rows.clone().step_by(at_once) {
                    let here = first..(first + at_once).min(rows.end);
                    let needed = ((here.end - 1) * down + side).saturating_sub(geometry.before[0]).min(layout.height);
                    while ready < needed {
                        let slot = ready % ring_rows;
                        let some = ready..needed.min(ready + ring_rows - slot);
                        let target = OutputView::new(&mut ring[slot * layout.row + layout.margin..], None);
                        let panels = 0..self.first.panels();
                        self.first.run_dense_rows(input, image, some.clone(), panels, target, layout.grid);
                        ready = some.end;
                    }
                    let lines = match self.last {
                        Some(_) => OutputView::new(&mut *depthwise_rows, None),
                        None => output.at_pixel((first - rows.start) * width, channels),
                    };
                    for (index, row) in here.clone().enumerate() {
                        let input_row = |ky: usize| match (row * down + ky).checked_sub(geometry.before[0]) {
                            Some(y) if y < layout.height => &ring[y % ring_rows * layout.row..][..layout.row],
                            _ => &zeros[..],
                        };
                        self.depthwise.run_depthwise_row(input_row, width, lines.at_pixel(index * width, channels));
                    }
                    if let Some(last) = self.last {
                        let output = output.at_pixel((first - rows.start) * width, last.spec().outputs);
                        last.run_pixels(depthwise_rows, 0..here.len() * width, 0..last.panels(), output);
                    }
                }
            });
        });
    }
}

/// The layout of the padded rows between the first and the depthwise convolution.
struct RingLayout {
    /// Rows of the whole image.
    height: usize,
    /// Values in a padded row.
    row: usize,
    /// Values before the first pixel of a row.
    margin: usize,
    /// The strides of the pixels, from the first one on.
    grid: Grid,
}

impl RingLayout {
    fn new(bottleneck: &InvertedBottleneck<'_>, input: [usize; 2]) -> Self {
        let Geometry { before, after, .. } = bottleneck.depthwise.spec().geometry;
        let first = bottleneck.first.spec();
        let [height, width] = first.geometry.output_size(input);
        let channels = first.outputs;
        let row = (width + before[1] + after[1]) * channels;
        Self { height, row, margin: before[1] * channels, grid: Grid { width, row, pixel: channels } }
    }

    /// Zeroes the padding on both sides of each row, and the last row, which is all padding. The buffer has unspecified
    /// values.
    fn clear_padding(&self, buffer: &mut [f32], geometry: &Geometry) {
        let right = geometry.after[1] * self.grid.pixel;
        for row in buffer.chunks_exact_mut(self.row) {
            row[..self.margin].fill(0.0);
            row[self.row - right..].fill(0.0);
        }
        let last = buffer.len() - self.row;
        buffer[last..].fill(0.0);
    }
}
