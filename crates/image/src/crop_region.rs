//! Crops a decoded image to the region that preprocessing reads, for a device that resizes images itself. Nothing is
//! resampled here.

use image::metadata::Orientation;

use super::crop_geometry::Resampling;
use super::decoded_image::DecodedImage;
use super::preprocess_spec::{Filter, PreprocessSpec, Window};

/// A region of an image, in the orientation of its file, and the parameters for resampling it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CropRegion {
    /// u8 RGB, `[height, width, 3]` laid out flat: the window, and the margin around it that the filter reads.
    pub pixels: Box<[u8]>,
    /// Width and height of the pixels.
    pub size: [u32; 2],
    /// Left and upper end of the window that is resampled.
    pub start: [u32; 2],
    /// Width and height of the window.
    pub length: [u32; 2],
    /// True if rows of the upright image are columns of the file.
    pub swapped: bool,
    /// Mirroring after the swap: true if columns run from right to left, and true if rows run from bottom to top.
    pub mirrored: [bool; 2],
    /// True if rows are resampled before columns.
    pub rows_first: bool,
    /// The resampling filter.
    pub filter: Filter,
}

/// Returns the number of bytes of the region that [`crop`] would return.
pub fn crop_bytes(image: &DecodedImage, spec: &PreprocessSpec) -> usize {
    let region = region(image, &Resampling::new(image, spec));
    region.width as usize * region.height as usize * 3
}

/// Copies the region that `spec` needs out of an image.
pub fn crop(image: &DecodedImage, spec: &PreprocessSpec) -> CropRegion {
    let resampling = Resampling::new(image, spec);
    let (window, region) = (resampling.window, region(image, &resampling));
    let row_bytes = image.width as usize * 3;
    let columns = region.left as usize * 3..(region.left + region.width) as usize * 3;
    let mut pixels = Vec::with_capacity(columns.len() * region.height as usize);
    for row in image.pixels.chunks_exact(row_bytes).skip(region.top as usize).take(region.height as usize) {
        pixels.extend_from_slice(&row[columns.clone()]);
    }
    CropRegion {
        pixels: pixels.into(),
        size: [region.width, region.height],
        start: [window.left - region.left, window.top - region.top],
        length: [window.width, window.height],
        swapped: image.swaps_sides(),
        mirrored: mirrored(image.orientation),
        rows_first: resampling.rows_first,
        filter: resampling.filter,
    }
}

/// Returns the window with the margin that the filter reads.
fn region(image: &DecodedImage, resampling: &Resampling) -> Window {
    let (columns, rows) = (resampling.columns(image), resampling.rows(image));
    let (width, height) = (columns.end - columns.start, rows.end - rows.start);
    Window { left: columns.start, top: rows.start, width, height }
}

/// Returns the axes to mirror after the swap, so that the upright pixel `(x, y)` is found in the file.
fn mirrored(orientation: Orientation) -> [bool; 2] {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => [false, false],
        Orientation::FlipHorizontal | Orientation::Rotate270 => [true, false],
        Orientation::FlipVertical | Orientation::Rotate90 => [false, true],
        Orientation::Rotate180 | Orientation::Rotate270FlipH => [true, true],
    }
}
