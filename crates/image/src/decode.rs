//! Decodes image files to RGB pixels, after the limits were checked against the header.
//!
//! The alpha channel is ignored, not blended, as in Pillow's `convert("RGB")`: a transparent pixel shows its stored colour.
//! 16-bit samples keep the upper byte. The part of a GIF's screen that the first frame does not cover has the transparent or the first
//! colour, as in Pillow; the screen grows to the first frame.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder};
use image::metadata::Orientation;

use super::bmp;
use super::decoded_image::{DecodedImage, Extent, swaps_sides};
use super::error::ImageError;
use super::format::Format;
use super::gif_header;
use super::header;
use super::jpeg;
use super::jpeg_header::Header;
use super::library_decoder::{NOTHING, check_header_size, decode_with, memory_limit};
use super::limits::{CancelToken, Limits, TruncatedImages};
use super::png_exif::png_exif;
use super::preprocess_spec::PreprocessSpec;
use super::repair;
use super::tiff;
use super::webp;

/// Decodes `bytes`; of an animation, only the first frame. A damaged file is refused, unless the limits accept truncated files.
///
/// # Errors
///
/// Every error is the image's fault; see [`ImageError`]. The format and the number of pixels are checked by the first bytes
/// and the header, before anything is decoded.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<DecodedImage, ImageError> {
    Ok(decode_while_needed(bytes, limits, None, None)?.expect("without a token, nothing ends the wait for memory"))
}

/// Decodes `bytes`, unless `token` ends the wait for memory. Then it returns nothing. A decode that has begun is not
/// interrupted. If the limits ask for fast decoding, the pixels suffice for `spec`, and may be fewer than the file has.
///
/// # Errors
///
/// See [`decode`].
pub fn decode_while_needed(
    bytes: &[u8],
    limits: &Limits,
    spec: Option<&PreprocessSpec>,
    token: Option<&CancelToken>,
) -> Result<Option<DecodedImage>, ImageError> {
    let format = limits.check_format(bytes)?;
    let spec = spec.filter(|_| limits.fast_decode);
    let decode = |bytes: &[u8], extent: Extent| decode_as(format, bytes, limits, spec, extent, token);
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

fn decode_as(
    format: Format,
    bytes: &[u8],
    limits: &Limits,
    spec: Option<&PreprocessSpec>,
    extent: Extent,
    token: Option<&CancelToken>,
) -> Result<Option<DecodedImage>, ImageError> {
    let undecodable = |e: image::ImageError| ImageError::Undecodable { format, reason: e.to_string() };
    let input = Cursor::new(bytes);
    match format {
        Format::Jpeg => decode_jpeg(bytes, limits, spec, extent, token),
        Format::Png => {
            // While the decoder reads the header, it allocates memory for a row and for metadata. The limit for metadata does
            // not grow with the number of pixels, so a compressed colour profile cannot expand to that much.
            check_header_size(header::png_size(bytes), format, limits)?;
            let decoder = PngDecoder::with_limits(input, memory_limit(0)).map_err(undecodable)?;
            // The decoder does not read an EXIF block behind the image data.
            let orientation = png_exif(bytes).map_or(Orientation::NoTransforms, |exif| header::orientation(&exif));
            decode_with(decoder, orientation, format, limits, extent, token)
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
        Format::Webp => webp::decode_webp(bytes, limits, extent, token),
        Format::Bmp => {
            let (bytes, colours) = bmp::rewritten(bytes);
            let decoder = BmpDecoder::new(Cursor::new(&*bytes)).map_err(undecodable)?;
            let mut image = decode_with(decoder, Orientation::NoTransforms, format, limits, extent, token)?;
            if let Some(image) = &mut image {
                colours.apply(&mut image.pixels);
            }
            Ok(image)
        }
        Format::Tiff => tiff::decode_tiff(bytes, limits, extent, token),
    }
}

/// Decodes baseline and progressive JPEG: grey, YCbCr, RGB, CMYK and YCCK.
fn decode_jpeg(
    bytes: &[u8],
    limits: &Limits,
    spec: Option<&PreprocessSpec>,
    extent: Extent,
    token: Option<&CancelToken>,
) -> Result<Option<DecodedImage>, ImageError> {
    let format = Format::Jpeg;
    let undecodable = |reason: String| ImageError::Undecodable { format, reason };
    let header = Header::read(bytes).ok_or_else(|| undecodable("its header is incomplete".to_string()))?;
    let (width, height) = header.size();
    limits.check_size(format, width, height)?;
    let components = header.frame.specifications.len();
    if !matches!(components, 1 | 3 | 4) {
        return Err(undecodable(format!("{components} colour components are not supported")));
    }
    let (scans, max_scans) = (header.scans, jpeg::max_scans(width, height));
    if scans as u64 > max_scans {
        return Err(undecodable(format!("it has {scans} scans; the maximum at this size is {max_scans}")));
    }
    let is_truncated = extent == Extent::Part;
    if let Some(reason) = header.unsupported.or(header.damage.filter(|_| !is_truncated)) {
        return Err(undecodable(reason.to_string()));
    }
    let orientation = header.exif.map_or(Orientation::NoTransforms, header::orientation);
    let memory = jpeg::decode_memory(bytes, &header);
    let Some(_budget) = limits.acquire(format, memory, token)? else { return Ok(None) };
    let (upright_width, upright_height) = if swaps_sides(orientation) { (height, width) } else { (width, height) };
    let reduction = spec.map_or(1, |spec| spec.reduction(upright_width, upright_height));
    let pixels = jpeg::decode_pixels(bytes, &header, reduction, extent).map_err(undecodable)?;
    if is_truncated && pixels.iter().all(|sample| *sample == pixels[0]) {
        return Err(undecodable(NOTHING.to_string()));
    }
    let file_size = (width, height);
    let (width, height) = (width.div_ceil(reduction), height.div_ceil(reduction));
    Ok(Some(DecodedImage { format, width, height, file_size, pixels, orientation, is_truncated, _budget }))
}
