//! The geometry that a preprocessing implies: which pixels of a file are resampled, and in which order.

use std::ops::Range;

use image::metadata::Orientation;

use super::decoded_image::DecodedImage;
use super::preprocess_spec::{Filter, PreprocessSpec, Window};

/// The resampling of one image, in the orientation of its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resampling {
    /// The part that is resampled.
    pub(super) window: Window,
    /// Width of the result, in pixels.
    pub(super) width: u32,
    /// Height of the result, in pixels.
    pub(super) height: u32,
    pub(super) filter: Filter,
    /// True if rows are resampled before columns.
    pub(super) rows_first: bool,
}

impl Resampling {
    /// Plans the resampling of `image`.
    pub(super) fn new(image: &DecodedImage, spec: &PreprocessSpec) -> Self {
        let (displayed_width, displayed_height) = image.upright_size();
        let is_swapped = image.swaps_sides();
        let (width, height) = if is_swapped { (spec.height, spec.width) } else { (spec.width, spec.height) };
        Self {
            window: file_window(spec.window(displayed_width, displayed_height), image),
            width,
            height,
            filter: spec.filter,
            rows_first: rows_first(displayed_width, displayed_height, spec) != is_swapped,
        }
    }

    /// Returns the columns of the file that the filter reads.
    pub(super) fn columns(&self, image: &DecodedImage) -> Range<u32> {
        filter_range(self.window.left, self.window.width, self.width, image.width, self.filter)
    }

    /// Returns the rows of the file that the filter reads.
    pub(super) fn rows(&self, image: &DecodedImage) -> Range<u32> {
        filter_range(self.window.top, self.window.height, self.height, image.height, self.filter)
    }
}

/// Returns true if Pillow (13.0, `ImagingResampleInner`) resamples along the rows before the columns. It rounds to bytes in
/// between, so the other order changes every fifth byte by one level.
fn rows_first(width: u32, height: u32, spec: &PreprocessSpec) -> bool {
    let lost_columns = i64::from(width) - i64::from(spec.width);
    let lost_rows = i64::from(height) - i64::from(spec.height);
    lost_rows <= 0 || lost_rows <= 2 * lost_columns
}

/// Returns the pixels out of `whole` that contribute when `length` pixels from `start` on are resampled to `target`. The
/// kernel reads beyond the edge of the window, up to the edge of the image.
fn filter_range(start: u32, length: u32, target: u32, whole: u32, filter: Filter) -> Range<u32> {
    let support = match filter {
        Filter::Bilinear => 1,
        Filter::Bicubic => 2,
        Filter::Lanczos3 => 3,
    };
    let margin = support * length.div_ceil(target).max(1);
    start.saturating_sub(margin)..(start + length + margin).min(whole)
}

/// Converts a window of the upright image to one of the file. If the margins have an odd sum, a central crop is one pixel
/// off the centre, so an orientation moves it.
fn file_window(window: Window, image: &DecodedImage) -> Window {
    use Orientation::{
        FlipHorizontal, FlipVertical, NoTransforms, Rotate90, Rotate90FlipH, Rotate180, Rotate270, Rotate270FlipH,
    };
    let (width, height) = image.upright_size();
    let from_right = width - window.left - window.width;
    let from_bottom = height - window.top - window.height;
    let (left, top) = match image.orientation {
        NoTransforms => (window.left, window.top),
        FlipHorizontal => (from_right, window.top),
        Rotate180 => (from_right, from_bottom),
        FlipVertical => (window.left, from_bottom),
        Rotate90FlipH => (window.top, window.left),
        Rotate90 => (window.top, from_right),
        Rotate270FlipH => (from_bottom, from_right),
        Rotate270 => (from_bottom, window.left),
    };
    let (width, height) =
        if image.swaps_sides() { (window.height, window.width) } else { (window.width, window.height) };
    Window { left, top, width, height }
}
