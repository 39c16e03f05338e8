//! The part of a decoded picture that the model's input is made of, for a device that resizes it by itself. Nothing is
//! resampled here.

use image::metadata::Orientation;

use super::raster::{Raster, swaps_sides};
use super::recipe::{Filter, Recipe, Window};
use super::resize::{in_file, reach, rows_first};

/// Pixels as they lie in the file, and what is to be done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cutout {
    /// u8 RGB, `[height, width, 3]` laid out flat: the window, and as much around it as the filter looks at.
    pub pixels: Box<[u8]>,
    /// Width and height of the pixels.
    pub size: [u32; 2],
    /// Left and upper end of the window that is resampled.
    pub start: [u32; 2],
    /// The window's width and height.
    pub length: [u32; 2],
    /// Whether rows of the upright picture are columns of the file.
    pub swapped: bool,
    /// Whether, after that, columns run from right to left, and rows from the bottom up.
    pub mirrored: [bool; 2],
    /// Whether rows are resampled before columns.
    pub rows_first: bool,
    /// How it is resampled.
    pub filter: Filter,
}

/// Bytes that [`cut`] would keep of a picture.
pub fn cut_bytes(picture: &Raster, recipe: &Recipe) -> usize {
    let kept = kept(picture, recipe).1;
    kept.width as usize * kept.height as usize * 3
}

/// Cuts out of a picture what the recipe needs of it.
pub fn cut(picture: &Raster, recipe: &Recipe) -> Cutout {
    let (window, kept) = kept(picture, recipe);
    let row = picture.width as usize * 3;
    let columns = kept.left as usize * 3..(kept.left + kept.width) as usize * 3;
    let mut pixels = Vec::with_capacity(columns.len() * kept.height as usize);
    for row in picture.pixels.chunks_exact(row).skip(kept.top as usize).take(kept.height as usize) {
        pixels.extend_from_slice(&row[columns.clone()]);
    }
    let swapped = swaps_sides(picture.orientation);
    let (width, height) = picture.displayed_size();
    Cutout {
        pixels: pixels.into(),
        size: [kept.width, kept.height],
        start: [window.left - kept.left, window.top - kept.top],
        length: [window.width, window.height],
        swapped,
        mirrored: mirrored(picture.orientation),
        rows_first: rows_first(width, height, recipe) != swapped,
        filter: recipe.filter,
    }
}

/// The window in the file, and what the filter looks at.
fn kept(picture: &Raster, recipe: &Recipe) -> (Window, Window) {
    let (width, height) = picture.displayed_size();
    let window = in_file(recipe.window(width, height), picture);
    let swapped = swaps_sides(picture.orientation);
    let (width, height) = if swapped { (recipe.height, recipe.width) } else { (recipe.width, recipe.height) };
    let columns = reach(window.left, window.width, width, picture.width, recipe.filter);
    let rows = reach(window.top, window.height, height, picture.height, recipe.filter);
    let (left, top) = (columns.start, rows.start);
    (window, Window { left, top, width: columns.len() as u32, height: rows.len() as u32 })
}

/// What is mirrored once sides are swapped, so that the upright pixel `(x, y)` is found in the file.
fn mirrored(orientation: Orientation) -> [bool; 2] {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => [false, false],
        Orientation::FlipHorizontal | Orientation::Rotate270 => [true, false],
        Orientation::FlipVertical | Orientation::Rotate90 => [false, true],
        Orientation::Rotate180 | Orientation::Rotate270FlipH => [true, true],
    }
}
