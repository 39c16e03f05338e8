//! Encoded bytes -> RGB pixels in the file's own orientation, after the header was judged.
//!
//! Alpha is dropped and not blended, and 16-bit samples keep their upper byte, as Pillow's `convert("RGB")` has it.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, codecs};

use super::error::ImageError;
use super::format::Format;
use super::jpeg;
use super::limits::Limits;

/// A decoded picture.
#[derive(Clone, Debug)]
pub(super) struct Rgb {
    pub(super) width: u32,
    pub(super) height: u32,
    /// `[height, width, 3]` laid out flat.
    pub(super) pixels: Vec<u8>,
    /// What must still be done to show it upright.
    pub(super) orientation: Orientation,
}

impl Rgb {
    /// Width and height once it is upright.
    pub(super) fn displayed_size(&self) -> (u32, u32) {
        if swaps_sides(self.orientation) { (self.height, self.width) } else { (self.width, self.height) }
    }
}

/// Whether an orientation turns width into height.
pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Decodes `bytes`, which are of `format`.
pub(super) fn decode(bytes: &[u8], format: Format, limits: &Limits) -> Result<Rgb, ImageError> {
    let broken = |e: image::ImageError| ImageError::Undecodable { format, reason: e.to_string() };
    let input = Cursor::new(bytes);
    match format {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Png => {
            let memory = png_memory(limits);
            with(codecs::png::PngDecoder::with_limits(input, memory).map_err(broken)?, format, limits)
        }
        Format::Gif => with(codecs::gif::GifDecoder::new(input).map_err(broken)?, format, limits),
        Format::Webp => with(codecs::webp::WebPDecoder::new(input).map_err(broken)?, format, limits),
        Format::Bmp => with(codecs::bmp::BmpDecoder::new(input).map_err(broken)?, format, limits),
        Format::Tiff => with(codecs::tiff::TiffDecoder::new(input).map_err(broken)?, format, limits),
    }
}

/// What a decoder may hold besides the pixels: eight bytes a pixel is 16-bit RGBA, and some for chunks of metadata.
fn png_memory(limits: &Limits) -> image::Limits {
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(64 << 20));
    memory
}

fn with(mut decoder: impl ImageDecoder, format: Format, limits: &Limits) -> Result<Rgb, ImageError> {
    let broken = |e: image::ImageError| ImageError::Undecodable { format, reason: e.to_string() };
    let (width, height) = decoder.dimensions();
    limits.check_size(width, height)?;
    if width == 0 || height == 0 {
        return Err(ImageError::Undecodable { format, reason: "it has no pixels".to_string() });
    }
    decoder.set_limits(png_memory(limits)).map_err(broken)?;
    let orientation = decoder.orientation().map_err(broken)?;
    let picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    Ok(Rgb { width, height, pixels: rgb8(picture), orientation })
}

/// 8-bit RGB without rounding: Pillow takes the upper byte of 16-bit samples, where `into_rgb8` would scale.
fn rgb8(picture: DynamicImage) -> Vec<u8> {
    let upper = |sample: u16| (sample >> 8) as u8;
    match picture {
        DynamicImage::ImageRgb8(rgb) => rgb.into_raw(),
        DynamicImage::ImageRgb16(rgb) => rgb.into_raw().into_iter().map(upper).collect(),
        DynamicImage::ImageRgba16(rgba) => rgba.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]].map(upper)).collect(),
        other => other.into_rgb8().into_raw(),
    }
}
