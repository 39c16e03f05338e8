//! A few rows of a picture with their padding around them, so that kernels know no borders.

use std::ops::Range;

use super::convolution::Pictures;
use super::geometry::Geometry;
use super::scratch::{self, Purpose};

/// The input rows under some output rows, padded on all sides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band<'a> {
    /// `[rows, width with padding, channels]`.
    pub(super) values: &'a [f32],
    /// Values in a row.
    pub(super) row: usize,
}

/// Values of a band that fit the second-level cache with room for the rest.
const BAND: usize = 48 * 1024;

/// Calls `work` with a few of the output rows `rows` of a picture and the input under them, until all had their turn.
pub(super) fn for_each_band(
    geometry: &Geometry,
    input: Pictures<'_>,
    picture: usize,
    rows: Range<usize>,
    mut work: impl FnMut(Range<usize>, Band<'_>),
) {
    let row = (input.size[1] + geometry.before[1] + geometry.after[1]) * input.channels;
    let at_once = (BAND / (row * geometry.stride[0])).max(1);
    for first in rows.clone().step_by(at_once) {
        let rows = first..(first + at_once).min(rows.end);
        let lines = (rows.len() - 1) * geometry.stride[0] + geometry.kernel[0];
        scratch::with(Purpose::Padded, lines * row, |band| {
            for (index, line) in band.chunks_exact_mut(row).enumerate() {
                fill(line, geometry, input, picture, first * geometry.stride[0] + index);
            }
            work(rows, Band { values: band, row });
        });
    }
}

/// Fills a row of the band: row `y` of the padded picture.
fn fill(line: &mut [f32], geometry: &Geometry, input: Pictures<'_>, picture: usize, y: usize) {
    let length = input.size[1] * input.channels;
    match y.checked_sub(geometry.before[0]) {
        Some(y) if y < input.size[0] => {
            let (left, rest) = line.split_at_mut(geometry.before[1] * input.channels);
            let (middle, right) = rest.split_at_mut(length);
            left.fill(0.0);
            middle.copy_from_slice(&input.picture(picture)[y * length..][..length]);
            right.fill(0.0);
        }
        _ => line.fill(0.0),
    }
}
