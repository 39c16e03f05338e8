//! Encoded bytes -> RGB pixels, after the header was judged.
//!
//! Alpha is dropped and not blended, as Pillow's `convert("RGB")` has it, so a transparent pixel shows the colour that is
//! stored under it. 16-bit samples keep their upper byte. What a GIF's first frame leaves of its canvas is black.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use super::error::ImageError;
use super::format::Format;
use super::inner_size;
use super::jpeg;
use super::limits::Limits;
use super::raster::Raster;
use super::tiff_directory;

/// Decodes `bytes`; of an animation, only the first frame.
///
/// # Errors
///
/// Always the picture's fault; see [`ImageError`]. The format and the number of pixels are judged from the first
/// bytes and the header, before anything is decoded.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, ImageError> {
    let format = Format::sniff(bytes, limits)?;
    let broken = |e: image::ImageError| ImageError::Undecodable { format, reason: e.to_string() };
    let input = Cursor::new(bytes);
    match format {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Png => {
            // The decoder allocates for a row and for metadata while it reads the header. Pixels are no reason to let a
            // colour profile unpack to as much.
            check(png_size(bytes), format, limits)?;
            with(PngDecoder::with_limits(input, memory(0)).map_err(broken)?, None, format, limits)
        }
        Format::Gif => {
            check(inner_size::gif_frame(bytes), format, limits)?;
            with(GifDecoder::new(input).map_err(broken)?, None, format, limits)
        }
        Format::Webp => {
            check(inner_size::webp_bitstream(bytes), format, limits)?;
            // The decoder makes room for as much as the chunk claims to hold, up to four gigabytes, and reads it then.
            let exif = inner_size::webp_exif(bytes).and_then(Orientation::from_exif_chunk);
            let orientation = exif.unwrap_or(Orientation::NoTransforms);
            with(WebPDecoder::new(input).map_err(broken)?, Some(orientation), format, limits)
        }
        Format::Bmp => with(BmpDecoder::new(input).map_err(broken)?, None, format, limits),
        Format::Tiff => {
            if tiff_directory::most_values(bytes).is_some_and(|most| most > bytes.len() as u64) {
                let reason = "a tag has more values than the file has bytes".to_string();
                return Err(ImageError::Undecodable { format, reason });
            }
            with(TiffDecoder::new(input).map_err(broken)?, None, format, limits)
        }
    }
}

/// Width and height from the IHDR chunk, which comes first (PNG specification, 11.2.1).
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let [w0, w1, w2, w3, h0, h1, h2, h3] = *bytes.get(12..24)?.strip_prefix(b"IHDR")? else { return None };
    Some((u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3])))
}

/// Judges a size if there is one; a file that has none will not decode.
fn check(size: Option<(u32, u32)>, format: Format, limits: &Limits) -> Result<(), ImageError> {
    size.map_or(Ok(()), |(width, height)| limits.check_size(format, width, height))
}

/// What a decoder may allocate: eight bytes a pixel is 16-bit RGBA; the rest is for metadata and tables.
fn memory(pixels: u64) -> image::Limits {
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(pixels.saturating_mul(8).saturating_add(16 << 20));
    memory
}

/// Where no orientation is given, the decoder is asked.
fn with(
    mut decoder: impl ImageDecoder,
    orientation: Option<Orientation>,
    format: Format,
    limits: &Limits,
) -> Result<Raster, ImageError> {
    let undecodable = |reason: String| ImageError::Undecodable { format, reason };
    let broken = |e: image::ImageError| undecodable(e.to_string());
    let (width, height) = decoder.dimensions();
    limits.check_size(format, width, height)?;
    let memory = memory(u64::from(width) * u64::from(height));
    if memory.max_alloc.is_some_and(|most| decoder.total_bytes() > most) {
        return Err(undecodable("its samples are too wide".to_string()));
    }
    decoder.set_limits(memory).map_err(broken)?;
    let orientation = orientation.map_or_else(|| decoder.orientation(), Ok).map_err(broken)?;
    // The decoder's samples, and the RGB that they become.
    let _held = limits.hold(format, decoder.total_bytes() + 3 * u64::from(width) * u64::from(height))?;
    let pixels = rgb8(DynamicImage::from_decoder(decoder).map_err(broken)?);
    Ok(Raster { format, width, height, pixels, orientation, _held })
}

/// Three bytes a pixel.
fn rgb8(picture: DynamicImage) -> Vec<u8> {
    match picture {
        DynamicImage::ImageRgb8(rgb) => rgb.into_raw(),
        DynamicImage::ImageLuma16(grey) => upper_bytes(grey.as_raw(), |&[y]| [y, y, y]),
        DynamicImage::ImageLumaA16(grey) => upper_bytes(grey.as_raw(), |&[y, _]| [y, y, y]),
        DynamicImage::ImageRgb16(rgb) => upper_bytes(rgb.as_raw(), |&rgb: &[u16; 3]| rgb),
        DynamicImage::ImageRgba16(rgba) => upper_bytes(rgba.as_raw(), |&[r, g, b, _]| [r, g, b]),
        other => other.into_rgb8().into_raw(),
    }
}

/// 16-bit samples, `N` a pixel, to 8-bit RGB without the rounding that `into_rgb8` would do.
fn upper_bytes<const N: usize>(samples: &[u16], rgb: impl Fn(&[u16; N]) -> [u16; 3]) -> Vec<u8> {
    samples.as_chunks::<N>().0.iter().flat_map(|pixel| rgb(pixel).map(|sample| (sample >> 8) as u8)).collect()
}
