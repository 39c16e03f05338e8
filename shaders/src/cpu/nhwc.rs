//! Views of NHWC memory: a batch of images to read, an output that several threads fill, and the strides of pixels.

use std::marker::PhantomData;
use std::ops::Range;

use super::buffers::{Scratch, with_scratch};
use kiln_ops::Geometry;

/// A batch of images, `[count, height, width, channels]` without gaps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NhwcBatch<'a> {
    pub(super) values: &'a [f32],
    pub(super) count: usize,
    /// Height and width.
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
}

impl<'a> NhwcBatch<'a> {
    /// Creates a batch of this shape.
    ///
    /// # Panics
    ///
    /// Panics if the number of values is not that of the shape.
    pub(crate) fn new(values: &'a [f32], [count, height, width, channels]: [usize; 4]) -> Self {
        assert_eq!(values.len(), count * height * width * channels, "values of a batch");
        Self { values, count, size: [height, width], channels }
    }

    /// Returns the values of one image.
    pub(super) fn image(&self, index: usize) -> &'a [f32] {
        let length = self.size[0] * self.size[1] * self.channels;
        &self.values[index * length..][..length]
    }
}

/// Splits a range of rows, counted through all images of `height` rows, at the image borders. Yields the index of each image
/// and its rows.
pub(super) fn split_by_image(rows: Range<usize>, height: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut next = rows.start;
    std::iter::from_fn(move || {
        let (image, first) = (next / height, next % height);
        let end = height.min(first + rows.end - next);
        next += end - first;
        (first < end).then_some((image, first..end))
    })
}

/// The strides of pixels in rows, in f32 values. The channels of a pixel are adjacent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Pixels in a row.
    pub(super) width: usize,
    /// Distance from a pixel to the one below.
    pub(super) row: usize,
    /// Distance from a pixel to the one on its right.
    pub(super) pixel: usize,
}

impl Grid {
    /// Rows without gaps.
    pub(super) fn dense(width: usize, channels: usize) -> Self {
        Self { width, row: width * channels, pixel: channels }
    }

    /// One row of any number of pixels.
    pub(super) fn line(channels: usize) -> Self {
        Self { width: usize::MAX, row: 0, pixel: channels }
    }

    /// Returns the offsets of `N` pixels from `first` on, counted row by row.
    #[inline(always)]
    pub(super) fn offsets<const N: usize>(&self, first: usize) -> [usize; N] {
        // A division would take as long as several steps of a sum.
        let (mut y, mut x) = if first < self.width { (0, first) } else { (first / self.width, first % self.width) };
        std::array::from_fn(|_| {
            let offset = y * self.row + x * self.pixel;
            x += 1;
            if x == self.width {
                (y, x) = (y + 1, 0);
            }
            offset
        })
    }
}

/// A position in an output buffer that several threads fill, and the same position in the residual to add. The buffers stay
/// borrowed as long as this value exists.
///
/// Creating one is safe. Code that writes through its pointer must ensure that no two threads write to the same position.
#[derive(Clone, Copy)]
pub(super) struct OutputView<'a> {
    start: *mut f32,
    /// Values from `start` to the end of the buffer.
    length: usize,
    /// Null if there is no residual.
    residual: *const f32,
    buffers: PhantomData<(&'a mut [f32], &'a [f32])>,
}

// SAFETY: the view only holds pointers. A write through them is unsafe, and the writer ensures that no other thread writes to
// the same position.
unsafe impl Send for OutputView<'_> {}
// SAFETY: a shared view gives out the same pointers, with the same condition on writes.
unsafe impl Sync for OutputView<'_> {}

impl<'a> OutputView<'a> {
    /// Creates a view of the start of `output`.
    ///
    /// # Panics
    ///
    /// Panics if the residual has another length than the output.
    pub(super) fn new(output: &'a mut [f32], residual: Option<&'a [f32]>) -> Self {
        assert!(residual.is_none_or(|values| values.len() == output.len()), "values of a residual");
        Self {
            start: output.as_mut_ptr(),
            length: output.len(),
            residual: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
            buffers: PhantomData,
        }
    }

    /// Returns the view from `values` further on.
    ///
    /// # Panics
    ///
    /// Panics if that is beyond the end.
    pub(super) fn skip(self, values: usize) -> Self {
        assert!(values <= self.length, "value {values} of {}", self.length);
        let residual = if self.residual.is_null() { self.residual } else { self.residual.wrapping_add(values) };
        Self { start: self.start.wrapping_add(values), length: self.length - values, residual, ..self }
    }

    /// Returns the view from pixel `index` on, in images of `channels` channels.
    pub(super) fn at_pixel(self, index: usize, channels: usize) -> Self {
        self.skip(index * channels)
    }

    /// Returns the output from here on, valid for `values` values.
    ///
    /// # Panics
    ///
    /// Panics if the rest of the buffer is shorter.
    pub(super) fn output(&self, values: usize) -> *mut f32 {
        assert!(values <= self.length, "{values} values in an output of {}", self.length);
        self.start
    }

    /// Returns the residual from here on, or null.
    pub(super) fn residual(&self) -> *const f32 {
        self.residual
    }
}

/// The input rows under some output rows, padded on all sides, so that kernels handle no borders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band<'a> {
    /// `[rows, padded width, channels]`.
    pub(super) values: &'a [f32],
    /// Values in a row.
    pub(super) row: usize,
}

/// Values of a band. They fit the second-level cache and leave memory for weights and output.
const BAND_VALUES: usize = 48 * 1024;

/// Calls `work` for a few of the output rows `rows` of an image at a time, with the band of input under them.
pub(super) fn for_each_band(
    geometry: &Geometry,
    input: NhwcBatch<'_>,
    image: usize,
    rows: Range<usize>,
    mut work: impl FnMut(Range<usize>, Band<'_>),
) {
    let row = (input.size[1] + geometry.before[1] + geometry.after[1]) * input.channels;
    let at_once = (BAND_VALUES / (row * geometry.stride[0])).max(1);
    for first in rows.clone().step_by(at_once) {
        let rows = first..(first + at_once).min(rows.end);
        let lines = (rows.len() - 1) * geometry.stride[0] + geometry.kernel[0];
        with_scratch(Scratch::PaddedRows, lines * row, |band| {
            for (index, line) in band.chunks_exact_mut(row).enumerate() {
                fill_padded_row(line, geometry, input, image, first * geometry.stride[0] + index);
            }
            work(rows, Band { values: band, row });
        });
    }
}

/// Fills a row of the band with row `y` of the padded image.
fn fill_padded_row(line: &mut [f32], geometry: &Geometry, input: NhwcBatch<'_>, image: usize, y: usize) {
    let length = input.size[1] * input.channels;
    match y.checked_sub(geometry.before[0]) {
        Some(y) if y < input.size[0] => {
            let (left, rest) = line.split_at_mut(geometry.before[1] * input.channels);
            let (middle, right) = rest.split_at_mut(length);
            left.fill(0.0);
            middle.copy_from_slice(&input.image(image)[y * length..][..length]);
            right.fill(0.0);
        }
        _ => line.fill(0.0),
    }
}
