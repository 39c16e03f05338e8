//! A decoded picture, as it lies in its file: not yet upright, cropped or resized.

use image::metadata::Orientation;

use super::budget::Held;
use super::format::Format;

/// u8 RGB pixels of a whole picture, and what must still be done to show it upright.
#[derive(Debug)]
pub struct Raster {
    pub(super) format: Format,
    pub(super) width: u32,
    pub(super) height: u32,
    /// `[height, width, 3]` laid out flat.
    pub(super) pixels: Vec<u8>,
    pub(super) orientation: Orientation,
    /// What it takes of the budget.
    pub(super) _held: Held,
}

impl Raster {
    /// The format by its magic bytes.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Width and height in pixels, as displayed: once the picture is upright.
    pub fn displayed_size(&self) -> (u32, u32) {
        if swaps_sides(self.orientation) { (self.height, self.width) } else { (self.width, self.height) }
    }
}

/// Whether an orientation turns width into height.
pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}
