//! Crop, antialiased resize and orientation, in that order: only what is kept is resampled, and turning the small
//! result is cheaper than turning the photo.

use std::ops::Range;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::error::ImageError;
use super::prepared::PreparedImage;
use super::raster::{Raster, swaps_sides};
use super::recipe::{Filter, Recipe, Window};

/// Makes the model's input out of a decoded picture: upright, cropped and of the recipe's size.
///
/// # Errors
///
/// [`ImageError::Undecodable`] if the resize refuses the sizes, which no recipe with a positive size brings about.
pub fn resize(picture: &Raster, recipe: &Recipe) -> Result<PreparedImage, ImageError> {
    let undecodable = |reason: String| ImageError::Undecodable { format: picture.format, reason };
    let (width, height) = picture.displayed_size();
    let window = in_file(recipe.window(width, height), picture);
    let turned = swaps_sides(picture.orientation);
    let rows_first = rows_first(width, height, recipe) != turned;
    let (width, height) = if turned { (recipe.height, recipe.width) } else { (recipe.width, recipe.height) };
    let job = Job { window, width, height, filter: recipe.filter, rows_first };
    let resized = resample(picture, &job).map_err(|e| undecodable(e.to_string()))?;
    let resized = RgbImage::from_raw(width, height, resized).expect("the target was made with this size");
    let pixels = upright(resized, picture.orientation).into_raw();
    Ok(PreparedImage::new(recipe.width, recipe.height, pixels.into()))
}

/// Whether Pillow (13.0, `ImagingResampleInner`) resamples along the rows before it does so along the columns. It
/// rounds to bytes in between, so the other order comes out a level off in every fifth byte.
pub(super) fn rows_first(width: u32, height: u32, recipe: &Recipe) -> bool {
    let lost_columns = i64::from(width) - i64::from(recipe.width);
    let lost_rows = i64::from(height) - i64::from(recipe.height);
    lost_rows <= 0 || lost_rows <= 2 * lost_columns
}

/// What is to be done, in the file's own orientation.
struct Job {
    window: Window,
    width: u32,
    height: u32,
    filter: Filter,
    rows_first: bool,
}

/// Resamples the window, antialiased, along one axis and then along the other.
fn resample(picture: &Raster, job: &Job) -> Result<Vec<u8>, ResizeError> {
    let Job { window, width, height, filter, rows_first } = *job;
    let source = view(picture.width, picture.height, &picture.pixels);
    if rows_first {
        let used = reach(window.top, window.height, height, picture.height, filter);
        let top = window.top - used.start;
        let strip = Window { top: used.start, height: used.len() as u32, ..window };
        let halfway = pass(&source, strip, width, strip.height, filter)?;
        let rest = Window { left: 0, top, width, height: window.height };
        pass(&view(width, strip.height, &halfway), rest, width, height, filter)
    } else {
        let used = reach(window.left, window.width, width, picture.width, filter);
        let left = window.left - used.start;
        let strip = Window { left: used.start, width: used.len() as u32, ..window };
        let halfway = pass(&source, strip, strip.width, height, filter)?;
        let rest = Window { left, top: 0, width: window.width, height };
        pass(&view(strip.width, height, &halfway), rest, width, height, filter)
    }
}

/// Pixels as the resize takes them. Their type is told here: left to be found out, it would have the code for every other
/// type compiled too, which takes a minute.
fn view(width: u32, height: u32, pixels: &[u8]) -> TypedImageRef<'_, U8x3> {
    TypedImageRef::from_buffer(width, height, pixels).expect("there are three bytes a pixel")
}

/// Resamples `window`; a side that keeps its length is copied.
fn pass(
    source: &TypedImageRef<'_, U8x3>,
    window: Window,
    width: u32,
    height: u32,
    filter: Filter,
) -> Result<Vec<u8>, ResizeError> {
    let filter = match filter {
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Bicubic => FilterType::CatmullRom,
        Filter::Lanczos3 => FilterType::Lanczos3,
    };
    let crop = [window.left, window.top, window.width, window.height].map(f64::from);
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(crop[0], crop[1], crop[2], crop[3]);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).expect("there are as many");
    Resizer::new().resize_typed(source, &mut target, &options)?;
    Ok(pixels)
}

/// Which of `whole` pixels have a part in resampling those from `start` on, `length` of them, to `target`: the kernel
/// looks over the window's edge, as far as there are pixels.
pub(super) fn reach(start: u32, length: u32, target: u32, whole: u32, filter: Filter) -> Range<u32> {
    let support = match filter {
        Filter::Bilinear => 1,
        Filter::Bicubic => 2,
        Filter::Lanczos3 => 3,
    };
    let margin = support * length.div_ceil(target).max(1);
    start.saturating_sub(margin)..(start + length + margin).min(whole)
}

/// A window of the upright picture, as it lies in the file. An odd rest makes a central crop lie one pixel off the
/// middle, so turning does not leave it where it is.
pub(super) fn in_file(window: Window, picture: &Raster) -> Window {
    use Orientation::{
        FlipHorizontal, FlipVertical, NoTransforms, Rotate90, Rotate90FlipH, Rotate180, Rotate270, Rotate270FlipH,
    };
    let (width, height) = picture.displayed_size();
    let from_right = width - window.left - window.width;
    let from_bottom = height - window.top - window.height;
    let (left, top) = match picture.orientation {
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
        if swaps_sides(picture.orientation) { (window.height, window.width) } else { (window.width, window.height) };
    Window { left, top, width, height }
}

fn upright(picture: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}
