//! A decoded image.

use image::metadata::Orientation;

use super::format::Format;
use super::limits::BudgetGuard;

/// A decoded image as it is stored in the file: not yet oriented, cropped or resized.
#[derive(Debug)]
pub struct DecodedImage {
    pub(super) format: Format,
    /// Width of the pixels.
    pub(super) width: u32,
    /// Height of the pixels.
    pub(super) height: u32,
    /// Width and height in the file, which are larger if the image was decoded at a part of its size.
    pub(super) file_size: (u32, u32),
    /// u8 RGB, `[height, width, 3]` laid out flat.
    pub(super) pixels: Vec<u8>,
    /// The transformation that makes the image upright.
    pub(super) orientation: Orientation,
    pub(super) is_truncated: bool,
    /// The image's part of the decode budget.
    pub(super) _budget: BudgetGuard,
}

impl DecodedImage {
    /// Returns the format by the first bytes.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns width and height of the upright image as the file has it, in pixels.
    pub fn displayed_size(&self) -> (u32, u32) {
        self.upright(self.file_size)
    }

    /// Returns width and height of the upright pixels.
    pub(super) fn upright_size(&self) -> (u32, u32) {
        self.upright((self.width, self.height))
    }

    fn upright(&self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.swaps_sides() { (height, width) } else { (width, height) }
    }

    /// Returns true if the file is truncated or damaged, and some pixels are missing.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Returns true if the orientation exchanges width and height.
    pub(super) fn swaps_sides(&self) -> bool {
        swaps_sides(self.orientation)
    }
}

pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// How much of an image has to be in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// Some pixels. The others are black, grey or those of the coarser scans; in some TIFF and BMP files white or the first colour of the palette.
    Part,
}
