//! Crop, antialiased resize and orientation, in that order: only what is kept is resampled, and turning the small
//! result is cheaper than turning the photo. The crop is central, so it is the same part either way.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::decode::{Rgb, swaps_sides};
use super::prepared::PreparedImage;
use super::recipe::{Filter, Recipe, Window};

/// Makes the model's input out of a decoded picture.
pub(super) fn resize(picture: &Rgb, recipe: &Recipe) -> Result<PreparedImage, String> {
    let (displayed_width, displayed_height) = picture.displayed_size();
    let window = recipe.window(displayed_width, displayed_height);
    let window = in_file(window, picture);
    let (width, height) =
        if swaps_sides(picture.orientation) { (recipe.height, recipe.width) } else { (recipe.width, recipe.height) };
    let source =
        ImageRef::new(picture.width, picture.height, &picture.pixels, PixelType::U8x3).map_err(|e| e.to_string())?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let filter = match recipe.filter {
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Bicubic => FilterType::CatmullRom,
        Filter::Lanczos3 => FilterType::Lanczos3,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(
        f64::from(window.left),
        f64::from(window.top),
        f64::from(window.width),
        f64::from(window.height),
    );
    Resizer::new().resize(&source, &mut target, &options).map_err(|e| e.to_string())?;
    let pixels = upright(width, height, target.into_vec(), picture.orientation)?;
    Ok(PreparedImage::new(recipe.width, recipe.height, pixels.into()))
}

/// A window of the upright picture, as it lies in the file.
fn in_file(window: Window, picture: &Rgb) -> Window {
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

fn upright(width: u32, height: u32, pixels: Vec<u8>, orientation: Orientation) -> Result<Vec<u8>, String> {
    if orientation == Orientation::NoTransforms {
        return Ok(pixels);
    }
    let picture = RgbImage::from_raw(width, height, pixels).ok_or("the resized picture has another size")?;
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8().into_raw())
}
