//! Resizes an image on the CPU: crop, antialiased resampling, then orientation. In this order only the kept part is
//! resampled, and the orientation is applied to the small result.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use super::crop_geometry::Resampling;
use super::decoded_image::DecodedImage;
use super::error::ImageError;
use super::preprocess_spec::{Filter, PreprocessSpec, Window};

/// An image of exactly the model's input size: u8 RGB pixels, `[height, width, 3]` laid out flat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreprocessedImage {
    width: u32,
    height: u32,
    pixels: Box<[u8]>,
}

impl PreprocessedImage {
    /// Creates an image of `pixels`.
    ///
    /// # Panics
    ///
    /// Panics if `pixels` does not have `width * height * 3` bytes.
    pub fn new(width: u32, height: u32, pixels: Box<[u8]>) -> Self {
        assert_eq!(pixels.len(), width as usize * height as usize * 3, "bytes of a {width}x{height} RGB image");
        Self { width, height, pixels }
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns the pixels, `[height, width, 3]` laid out flat.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

/// Converts a decoded image to the model's input: upright, cropped, and of the size that `spec` gives.
///
/// # Errors
///
/// [`ImageError::Undecodable`] if the resizer refuses the sizes. A `spec` with a positive size never causes this.
pub fn resize(image: &DecodedImage, spec: &PreprocessSpec) -> Result<PreprocessedImage, ImageError> {
    let undecodable = |e: ResizeError| ImageError::Undecodable { format: image.format, reason: e.to_string() };
    let resampling = Resampling::new(image, spec);
    let resized = resample(image, &resampling).map_err(undecodable)?;
    let resized = RgbImage::from_raw(resampling.width, resampling.height, resized).expect("the sizes are equal");
    let pixels = apply_orientation(resized, image.orientation).into_raw();
    Ok(PreprocessedImage::new(spec.width, spec.height, pixels.into()))
}

/// Resamples the window, antialiased, along one axis and then along the other.
fn resample(image: &DecodedImage, resampling: &Resampling) -> Result<Vec<u8>, ResizeError> {
    let Resampling { window, width, height, filter, rows_first } = *resampling;
    let source = view(image.width, image.height, &image.pixels);
    if rows_first {
        let used = resampling.rows(image);
        let top = window.top - used.start;
        let strip = Window { top: used.start, height: used.end - used.start, ..window };
        let halfway = resample_window(&source, strip, width, strip.height, filter)?;
        let rest = Window { left: 0, top, width, height: window.height };
        resample_window(&view(width, strip.height, &halfway), rest, width, height, filter)
    } else {
        let used = resampling.columns(image);
        let left = window.left - used.start;
        let strip = Window { left: used.start, width: used.end - used.start, ..window };
        let halfway = resample_window(&source, strip, strip.width, height, filter)?;
        let rest = Window { left, top: 0, width: window.width, height };
        resample_window(&view(strip.width, height, &halfway), rest, width, height, filter)
    }
}

/// Wraps pixels for the resizer. The pixel type is static: with a dynamic type, the resizer's code for every pixel type would
/// be compiled, which takes a minute.
fn view(width: u32, height: u32, pixels: &[u8]) -> TypedImageRef<'_, U8x3> {
    TypedImageRef::from_buffer(width, height, pixels).expect("a pixel has three bytes")
}

/// Resamples `window`. A side that keeps its length is copied.
fn resample_window(
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
    let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).expect("the sizes are equal");
    Resizer::new().resize_typed(source, &mut target, &options)?;
    Ok(pixels)
}

fn apply_orientation(image: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return image;
    }
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    image.into_rgb8()
}
