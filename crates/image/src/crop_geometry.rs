//! The preprocessing of a model, as plain data, and the geometry that it implies: which pixels of a file are resampled, and
//! in which order.

use std::ops::Range;

use image::metadata::Orientation;

use super::decode::DecodedImage;

/// The input size of a model, and how to produce it: crop by `crop`, then resample to `width` x `height`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreprocessSpec {
    /// Width of the result, in pixels; positive.
    pub width: u32,
    /// Height of the result, in pixels; positive.
    pub height: u32,
    /// The resampling filter; always antialiased.
    pub filter: Filter,
    /// The part of the image that is kept.
    pub crop: Crop,
}

/// Resampling filters, as defined by Pillow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Cubic with a = -0.5 (Catmull-Rom), support 2.
    Bicubic,
    /// Lanczos, support 3.
    Lanczos3,
}

/// The part of the image that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crop {
    /// The whole image, stretched to the shape of the result.
    None,
    /// The central square of side `floor(min(height, width) * size / (size + padding))`, where `size` is the smaller side
    /// of the result. This is the part that remains after resizing to `size + padding` and cropping the central `size`.
    /// It begins at `ceil((height - side) / 2)` and `ceil((width - side) / 2)`. This is the reference preprocessing of
    /// EfficientNet (`preprocessing.py` in tensorflow/tpu), where `padding` is 32.
    CentralPadded {
        /// In pixels at the result's scale.
        padding: u32,
    },
}

/// A rectangle of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl PreprocessSpec {
    /// Returns the part of an upright `width` x `height` image that is kept; never empty.
    fn window(&self, width: u32, height: u32) -> Window {
        let Crop::CentralPadded { padding } = self.crop else {
            return Window { left: 0, top: 0, width, height };
        };
        let size = u64::from(self.width.min(self.height));
        let side = u64::from(width.min(height)) * size / (size + u64::from(padding)).max(1);
        let side = u32::try_from(side).expect("it is no longer than the shorter side").max(1);
        Window { left: (width - side).div_ceil(2), top: (height - side).div_ceil(2), width: side, height: side }
    }
}

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
        let (displayed_width, displayed_height) = image.displayed_size();
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
    let (width, height) = image.displayed_size();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(crop: Crop) -> PreprocessSpec {
        PreprocessSpec { width: 224, height: 224, filter: Filter::Bicubic, crop }
    }

    #[test]
    fn central_padded_crop_keeps_the_central_square() {
        let window = spec(Crop::CentralPadded { padding: 32 }).window(640, 480);
        assert_eq!(window, Window { left: 110, top: 30, width: 420, height: 420 });
        let odd = spec(Crop::CentralPadded { padding: 32 }).window(451, 300);
        assert_eq!(odd, Window { left: 95, top: 19, width: 262, height: 262 });
    }

    #[test]
    fn crop_is_never_empty() {
        assert_eq!(spec(Crop::CentralPadded { padding: 32 }).window(1, 1).width, 1);
        let none = PreprocessSpec { width: 0, height: 0, ..spec(Crop::CentralPadded { padding: 0 }) };
        assert_eq!(none.window(9, 9).width, 1);
        assert_eq!(spec(Crop::None).window(3, 2), Window { left: 0, top: 0, width: 3, height: 2 });
    }
}
