//! Decodes image files to RGB pixels, after the limits were checked against the header.
//!
//! The alpha channel is ignored, not blended, as in Pillow's `convert("RGB")`: a transparent pixel shows its stored colour.
//! 16-bit samples keep the upper byte. The part of a GIF's screen that the first frame does not cover has the transparent or the first
//! colour, as in Pillow; the screen grows to the first frame.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use super::error::ImageError;
use super::format::Format;
use super::gif_header;
use super::header;
use super::jpeg;
use super::jpeg_header;
use super::limits::{BudgetGuard, CancelToken, Limits, TruncatedImages};
use super::repair;

/// A decoded image as it is stored in the file: not yet oriented, cropped or resized.
#[derive(Debug)]
pub struct DecodedImage {
    pub(super) format: Format,
    pub(super) width: u32,
    pub(super) height: u32,
    /// u8 RGB, `[height, width, 3]` laid out flat.
    pub(super) pixels: Vec<u8>,
    /// The transformation that makes the image upright.
    pub(super) orientation: Orientation,
    is_truncated: bool,
    /// The image's part of the decode budget.
    _budget: BudgetGuard,
}

impl DecodedImage {
    /// Returns the format by the first bytes.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns width and height of the upright image, in pixels.
    pub fn displayed_size(&self) -> (u32, u32) {
        if self.swaps_sides() { (self.height, self.width) } else { (self.width, self.height) }
    }

    /// Returns true if the file is truncated or damaged, and some pixels are missing.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Returns true if the orientation exchanges width and height.
    pub(super) fn swaps_sides(&self) -> bool {
        use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        matches!(self.orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
    }
}

/// Decodes `bytes`; of an animation, only the first frame. A damaged file is refused, unless the limits accept truncated files.
///
/// # Errors
///
/// Every error is the image's fault; see [`ImageError`]. The format and the number of pixels are checked by the first bytes
/// and the header, before anything is decoded.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<DecodedImage, ImageError> {
    Ok(decode_while_needed(bytes, limits, None)?.expect("without a token, nothing ends the wait for memory"))
}

/// Decodes `bytes`, unless `token` ends the wait for memory. Then it returns nothing. A decode that has begun is not
/// interrupted.
///
/// # Errors
///
/// See [`decode`].
pub fn decode_while_needed(
    bytes: &[u8],
    limits: &Limits,
    token: Option<&CancelToken>,
) -> Result<Option<DecodedImage>, ImageError> {
    let format = limits.check_format(bytes)?;
    let decode = |bytes: &[u8], extent: Extent| decode_as(format, bytes, limits, extent, token);
    let error = match decode(bytes, Extent::Whole) {
        Err(error @ ImageError::Undecodable { .. }) => error,
        decoded => return decoded,
    };
    let repaired = repair::repaired(bytes, format);
    let whole = repaired.as_ref().filter(|repaired| repaired.is_whole);
    if let Some(Ok(decoded)) = whole.map(|repaired| decode(&repaired.bytes, Extent::Whole)) {
        return Ok(decoded);
    }
    let rest = repaired.as_ref().map_or(bytes, |repaired| &repaired.bytes);
    match limits.truncated_images {
        TruncatedImages::Accept => decode(rest, Extent::Part).map_err(|_| error),
        TruncatedImages::Refuse => Err(error),
    }
}

/// How much of an image has to be in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    /// Some pixels. The others are black or grey.
    Part,
}

fn decode_as(
    format: Format,
    bytes: &[u8],
    limits: &Limits,
    extent: Extent,
    token: Option<&CancelToken>,
) -> Result<Option<DecodedImage>, ImageError> {
    let undecodable = |e: image::ImageError| ImageError::Undecodable { format, reason: e.to_string() };
    let input = Cursor::new(bytes);
    match format {
        Format::Jpeg => decode_jpeg(bytes, limits, extent, token),
        Format::Png => {
            // While the decoder reads the header, it allocates memory for a row and for metadata. The limit for metadata does
            // not grow with the number of pixels, so a compressed colour profile cannot expand to that much.
            check_header_size(header::png_size(bytes), format, limits)?;
            let decoder = PngDecoder::with_limits(input, memory_limit(0)).map_err(undecodable)?;
            // The decoder does not read an EXIF block behind the image data.
            let orientation = header::png_exif(bytes).map(header::orientation);
            decode_with(decoder, orientation.unwrap_or(Orientation::NoTransforms), format, limits, extent, token)
        }
        Format::Gif => {
            let frame = gif_header::gif_frame(bytes);
            check_header_size(frame.map(|frame| (frame.width, frame.height)), format, limits)?;
            // The decoder would cut the frame to the screen.
            let bytes = frame.map_or(Cow::Borrowed(bytes), |frame| gif_header::with_gif_screen(bytes, &frame));
            let decoder = GifDecoder::new(Cursor::new(&*bytes)).map_err(undecodable)?;
            let mut image = decode_with(decoder, Orientation::NoTransforms, format, limits, extent, token)?;
            if let (Some(frame), Some(image)) = (frame, &mut image) {
                frame.fill_surrounding(&mut image.pixels, image.width);
            }
            Ok(image)
        }
        Format::Webp => {
            check_header_size(header::webp_bitstream(bytes), format, limits)?;
            // The decoder allocates the declared length of the EXIF chunk, up to four gigabytes, before it reads the chunk.
            let orientation = header::webp_exif(bytes).map_or(Orientation::NoTransforms, header::orientation);
            decode_with(WebPDecoder::new(input).map_err(undecodable)?, orientation, format, limits, extent, token)
        }
        Format::Bmp => {
            let decoder = BmpDecoder::new(input).map_err(undecodable)?;
            decode_with(decoder, Orientation::NoTransforms, format, limits, extent, token)
        }
        Format::Tiff => {
            if header::tiff_max_values(bytes).is_some_and(|max| max > bytes.len() as u64) {
                let reason = "a tag declares more values than the file has bytes".to_string();
                return Err(ImageError::Undecodable { format, reason });
            }
            // The decoder ignores the order.
            if header::has_other_fill_order(bytes) {
                let reason = "its bits are in another order (FillOrder), which is not supported".to_string();
                return Err(ImageError::Undecodable { format, reason });
            }
            let decoder = TiffDecoder::new(input).map_err(undecodable)?;
            decode_with(decoder, header::orientation(bytes), format, limits, extent, token)
        }
    }
}

/// Checks the size, if the header has one. A file without a size fails in the decoder.
fn check_header_size(size: Option<(u32, u32)>, format: Format, limits: &Limits) -> Result<(), ImageError> {
    size.map_or(Ok(()), |(width, height)| limits.check_size(format, width, height))
}

/// Returns the allocation limit of a decoder: eight bytes per pixel, as for 16-bit RGBA, and 16 MiB for metadata and tables.
fn memory_limit(pixels: u64) -> image::Limits {
    let mut limit = image::Limits::no_limits();
    limit.max_alloc = Some(pixels.saturating_mul(8).saturating_add(16 << 20));
    limit
}

/// Decodes with a decoder of the `image` crate.
fn decode_with(
    mut decoder: impl ImageDecoder,
    orientation: Orientation,
    format: Format,
    limits: &Limits,
    extent: Extent,
    token: Option<&CancelToken>,
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
    let memory = decoder.total_bytes() + 3 * u64::from(width) * u64::from(height);
    let Some(_budget) = limits.acquire(format, memory, token)? else { return Ok(None) };
    let is_truncated = extent == Extent::Part;
    let pixels = match extent {
        Extent::Whole => to_rgb8(DynamicImage::from_decoder(decoder).map_err(undecodable)?),
        Extent::Part => part_of(decoder, format).ok_or_else(|| error(NOTHING.to_string()))?,
    };
    Ok(Some(DecodedImage { format, width, height, pixels, orientation, is_truncated, _budget }))
}

const NOTHING: &str = "it has no pixels";

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

/// Decodes baseline and progressive JPEG: grey, YCbCr, RGB, CMYK and YCCK.
fn decode_jpeg(
    bytes: &[u8],
    limits: &Limits,
    extent: Extent,
    token: Option<&CancelToken>,
) -> Result<Option<DecodedImage>, ImageError> {
    let format = Format::Jpeg;
    let undecodable = |reason: String| ImageError::Undecodable { format, reason };
    let header = jpeg_header::Header::read(bytes).ok_or_else(|| undecodable("its header is incomplete".to_string()))?;
    let jpeg_header::Header { width, height, components, exif, scans, is_complete, .. } = header;
    limits.check_size(format, width, height)?;
    if !matches!(components, 1 | 3 | 4) {
        return Err(undecodable(format!("{components} colour components are not supported")));
    }
    let is_truncated = extent == Extent::Part;
    if !is_complete && !is_truncated {
        return Err(undecodable("the file is truncated".to_string()));
    }
    let max_scans = jpeg::max_scans(width, height);
    if scans as u64 > max_scans {
        return Err(undecodable(format!("it has {scans} scans; the maximum at this size is {max_scans}")));
    }
    let orientation = exif.map_or(Orientation::NoTransforms, header::orientation);
    let memory = jpeg::pixel_memory(&header) * u64::from(width) * u64::from(height) + jpeg::copy_memory(bytes);
    let Some(_budget) = limits.acquire(format, memory, token)? else { return Ok(None) };
    let pixels = match extent {
        Extent::Whole => jpeg::decode_pixels(bytes, &header),
        Extent::Part => jpeg::decode_damaged(bytes, &header),
    };
    let pixels = pixels.map_err(undecodable)?;
    if is_truncated && pixels.iter().all(|sample| *sample == pixels[0]) {
        return Err(undecodable(NOTHING.to_string()));
    }
    Ok(Some(DecodedImage { format, width, height, pixels, orientation, is_truncated, _budget }))
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
