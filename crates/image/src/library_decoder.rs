//! Decodes with the decoders of the `image` crate, within the limits on pixels and memory.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use super::decoded_image::{DecodedImage, Extent};
use super::error::ImageError;
use super::format::Format;
use super::limits::{CancelToken, Limits};

/// Checks the size, if the header has one. A file without a size fails in the decoder.
pub(super) fn check_header_size(size: Option<(u32, u32)>, format: Format, limits: &Limits) -> Result<(), ImageError> {
    size.map_or(Ok(()), |(width, height)| limits.check_size(format, width, height))
}

/// Returns the allocation limit of a decoder: eight bytes per pixel, as for 16-bit RGBA, and 16 MiB for metadata and tables.
pub(super) fn memory_limit(pixels: u64) -> image::Limits {
    let mut limit = image::Limits::no_limits();
    limit.max_alloc = Some(pixels.saturating_mul(8).saturating_add(16 << 20));
    limit
}

/// Decodes with a decoder of the `image` crate.
pub(super) fn decode_with(
    decoder: impl ImageDecoder,
    orientation: Orientation,
    format: Format,
    limits: &Limits,
    extent: Extent,
    token: Option<&CancelToken>,
) -> Result<Option<DecodedImage>, ImageError> {
    decode_and_reserve(decoder, orientation, format, limits, extent, token, 0)
}

/// The same, with `extra` bytes of the decode budget that the caller needs.
pub(super) fn decode_and_reserve(
    mut decoder: impl ImageDecoder,
    orientation: Orientation,
    format: Format,
    limits: &Limits,
    extent: Extent,
    token: Option<&CancelToken>,
    extra: u64,
) -> Result<Option<DecodedImage>, ImageError> {
    let error = |reason: String| ImageError::Undecodable { format, reason };
    let undecodable = |e: image::ImageError| error(e.to_string());
    let (width, height) = decoder.dimensions();
    limits.check_size(format, width, height)?;
    let memory = memory_limit(u64::from(width) * u64::from(height));
    if memory.max_alloc.is_some_and(|max| decoder.total_bytes() > max) {
        return Err(error("its samples are wider than 16 bits".to_string()));
    }
    decoder.set_limits(memory).map_err(undecodable)?;
    // The decoder's samples, and the RGB pixels that they are converted to.
    let memory = decoder.total_bytes() + 3 * u64::from(width) * u64::from(height) + extra;
    let Some(_budget) = limits.acquire(format, memory, token)? else { return Ok(None) };
    let is_truncated = extent == Extent::Part;
    let pixels = match extent {
        Extent::Whole => to_rgb8(DynamicImage::from_decoder(decoder).map_err(undecodable)?),
        Extent::Part => part_of(decoder, format).ok_or_else(|| error(NOTHING.to_string()))?,
    };
    let file_size = (width, height);
    Ok(Some(DecodedImage { format, width, height, file_size, pixels, orientation, is_truncated, _budget }))
}

/// Why a truncated image is refused.
pub(super) const NOTHING: &str = "it has no pixels";

/// Decodes the samples before the damage; the other pixels are black. `None` if nothing is decoded, or if the samples are wider
/// than 16 bits.
fn part_of(decoder: impl ImageDecoder, format: Format) -> Option<Vec<u8>> {
    let colour = decoder.color_type();
    let channels = usize::from(colour.channel_count());
    let bytes = usize::from(colour.bytes_per_pixel());
    let mut samples = vec![0; usize::try_from(decoder.total_bytes()).ok()?];
    // The error is the damage.
    let _ = decoder.read_image(&mut samples);
    let upper = match bytes / channels {
        1 => 0,
        // In PNG the upper byte is the first one. The decoder changes that at the end of a complete image.
        2 if format == Format::Png => 0,
        2 => usize::from(cfg!(target_endian = "little")),
        _ => return None,
    };
    let is_empty = samples.iter().all(|sample| *sample == 0);
    let rgb = if channels < 3 { [0; 3] } else { [0, 1, 2] };
    let pixel = |pixel: &[u8]| rgb.map(|channel| pixel[channel * (bytes / channels) + upper]);
    (!is_empty).then(|| samples.chunks_exact(bytes).flat_map(pixel).collect())
}

/// Converts to three bytes per pixel.
fn to_rgb8(image: DynamicImage) -> Vec<u8> {
    match image {
        DynamicImage::ImageRgb8(rgb) => rgb.into_raw(),
        DynamicImage::ImageLuma16(grey) => upper_bytes(grey.as_raw(), |&[y]| [y, y, y]),
        DynamicImage::ImageLumaA16(grey) => upper_bytes(grey.as_raw(), |&[y, _]| [y, y, y]),
        DynamicImage::ImageRgb16(rgb) => upper_bytes(rgb.as_raw(), |&rgb: &[u16; 3]| rgb),
        DynamicImage::ImageRgba16(rgba) => upper_bytes(rgba.as_raw(), |&[r, g, b, _]| [r, g, b]),
        other => other.into_rgb8().into_raw(),
    }
}

/// Converts 16-bit samples, `N` per pixel, to 8-bit RGB. It truncates, where `into_rgb8` would round.
fn upper_bytes<const N: usize>(samples: &[u16], rgb: impl Fn(&[u16; N]) -> [u16; 3]) -> Vec<u8> {
    samples.as_chunks::<N>().0.iter().flat_map(|pixel| rgb(pixel).map(|sample| (sample >> 8) as u8)).collect()
}
