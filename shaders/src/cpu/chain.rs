//! Three convolutions in a row, dense -> depthwise -> pointwise, a few rows at a time: the inverted bottleneck.
//!
//! The first one makes pictures that are too large for the second-level cache, and the last makes them small again. So
//! the rows between go into a ring buffer just large enough for the depthwise window, are used while they are in the
//! cache, and never reach memory. Nothing is computed twice but where two threads meet.

use std::ops::Range;

use super::arena::Buffer;
use super::convolution::{PackedConv, Pictures, by_picture, share};
use super::geometry::Geometry;
use super::grid::Grid;
use super::scratch::{self, Purpose};
use super::target::Target;
use super::threads;

/// Values of the ring buffer: a quarter of a small second-level cache.
const RING: usize = 64 * 1024;
/// Below this many output rows, threads are better kept busy by sharing out each convolution by itself.
const FEW_ROWS: usize = 28;

/// The three convolutions. The middle one is depthwise, the last pointwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain<'a> {
    pub(crate) first: &'a PackedConv,
    pub(crate) depthwise: &'a PackedConv,
    pub(crate) last: &'a PackedConv,
}

impl Chain<'_> {
    /// `[count, height, width, channels]` of what comes out of pictures of this shape.
    pub(crate) fn output_shape(&self, input: [usize; 4]) -> [usize; 4] {
        self.last.output_shape(self.depthwise.output_shape(self.first.output_shape(input)))
    }

    /// Whether running the three by themselves keeps the threads busier.
    fn is_better_apart(&self, input: [usize; 4]) -> bool {
        let [count, rows, ..] = self.output_shape(input);
        let threads = threads::available();
        threads > 1 && count < threads && rows < FEW_ROWS
    }

    /// Fills `output` with the last convolution's results.
    ///
    /// # Panics
    ///
    /// Sizes do not fit.
    pub(crate) fn run(&self, input: Pictures<'_>, residual: Option<&[f32]>, output: &mut [f32]) {
        let input_shape = [input.count, input.size[0], input.size[1], input.channels];
        let shape = self.output_shape(input_shape);
        assert_eq!(output.len(), shape.iter().product::<usize>(), "values of the output of a chain");
        if self.is_better_apart(input_shape) {
            return self.run_apart(input, input_shape, residual, output);
        }
        let [_, height, width, channels] = shape;
        let target = Target::new(output, residual);
        share(input.count * height, height.div_ceil(2), |rows| {
            for (picture, rows) in by_picture(rows, height) {
                let target = target.at_pixel((picture * height + rows.start) * width, channels);
                self.run_rows(input, picture, rows, width, target);
            }
        });
    }

    fn run_apart(&self, input: Pictures<'_>, shape: [usize; 4], residual: Option<&[f32]>, output: &mut [f32]) {
        let wide_shape = self.first.output_shape(shape);
        let mut wide = Buffer::take(wide_shape.iter().product());
        self.first.run(input, None, &mut wide);
        let narrow_shape = self.depthwise.output_shape(wide_shape);
        let mut narrow = Buffer::take(narrow_shape.iter().product());
        self.depthwise.run(Pictures::new(&wide, wide_shape), None, &mut narrow);
        self.last.run(Pictures::new(&narrow, narrow_shape), residual, output);
    }

    /// Some output rows, of `width` pixels, of one picture.
    fn run_rows(&self, input: Pictures<'_>, picture: usize, rows: Range<usize>, width: usize, target: Target<'_>) {
        let geometry = *self.depthwise.geometry();
        let (down, side) = (geometry.stride[0], geometry.kernel[0]);
        let shape = Between::new(self, input.size);
        let at_once = (RING / shape.row).saturating_sub(side).div_ceil(down).clamp(1, rows.len());
        let ring_rows = (at_once - 1) * down + side;
        let channels = self.depthwise.spec.outputs;
        scratch::with(Purpose::Ring, (ring_rows + 1) * shape.row, |buffer| {
            shape.clear_borders(buffer, &geometry);
            let (ring, zeros) = buffer.split_at_mut(ring_rows * shape.row);
            scratch::with(Purpose::Between, at_once * width * channels, |between| {
                let mut ready = (rows.start * down).saturating_sub(geometry.before[0]);
                for first in rows.clone().step_by(at_once) {
                    let here = first..(first + at_once).min(rows.end);
                    let needed = ((here.end - 1) * down + side).saturating_sub(geometry.before[0]).min(shape.height);
                    while ready < needed {
                        let slot = ready % ring_rows;
                        let some = ready..needed.min(ready + ring_rows - slot);
                        let place = Target::new(&mut ring[slot * shape.row + shape.margin..], None);
                        self.first.run_dense_rows(input, picture, some.clone(), place, shape.grid);
                        ready = some.end;
                    }
                    for (row, line) in here.clone().zip(between.chunks_exact_mut(width * channels)) {
                        let under = |ky: usize| match (row * down + ky).checked_sub(geometry.before[0]) {
                            Some(y) if y < shape.height => &ring[y % ring_rows * shape.row..][..shape.row],
                            _ => &zeros[..],
                        };
                        self.depthwise.run_depthwise_row(under, width, Target::new(line, None));
                    }
                    let target = target.at_pixel((first - rows.start) * width, self.last.spec.outputs);
                    self.last.run_pixels(between, 0..here.len() * width, 0..self.last.panels(), target);
                }
            });
        });
    }
}

/// The padded rows between the first and the depthwise convolution.
struct Between {
    /// Rows of the whole picture.
    height: usize,
    /// Values in a padded row.
    row: usize,
    /// Values before the first pixel.
    margin: usize,
    /// Where the pixels lie, from the first one on.
    grid: Grid,
}

impl Between {
    fn new(chain: &Chain<'_>, input: [usize; 2]) -> Self {
        let Geometry { before, after, .. } = *chain.depthwise.geometry();
        let [height, width] = chain.first.geometry().output_size(input);
        let channels = chain.first.spec.outputs;
        let row = (width + before[1] + after[1]) * channels;
        Self { height, row, margin: before[1] * channels, grid: Grid { width, row, pixel: channels } }
    }

    /// The buffer comes with anything in it: padding on both sides, and a last row that is all padding.
    fn clear_borders(&self, buffer: &mut [f32], geometry: &Geometry) {
        let right = geometry.after[1] * self.grid.pixel;
        for row in buffer.chunks_exact_mut(self.row) {
            row[..self.margin].fill(0.0);
            row[self.row - right..].fill(0.0);
        }
        let last = buffer.len() - self.row;
        buffer[last..].fill(0.0);
    }
}
