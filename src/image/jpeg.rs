//! JPEG by zune-jpeg: baseline and progressive, grey, YCbCr, CMYK and YCCK.

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::decode::Rgb;
use super::error::ImageError;
use super::format::Format;
use super::jpeg_segments;
use super::limits::Limits;

/// Scans of a progressive file that are gone through; honest encoders make about ten, and each costs a full pass.
const MAX_SCANS: usize = 100;

/// Decodes a JPEG into RGB.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Rgb, ImageError> {
    let broken = |reason: String| ImageError::Undecodable { format: Format::Jpeg, reason };
    // Sizes are judged below, where the error can tell them; the header cannot hold more than 16 bits.
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| broken(e.to_string()))?;
    let info = decoder.info().ok_or_else(|| broken("it has no header".to_string()))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    limits.check_size(width, height)?;
    if !jpeg_segments::is_whole(bytes) {
        return Err(broken("it ends too early".to_string()));
    }
    let exif = decoder.exif().map(Vec::as_slice);
    let orientation = exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let pixels = decoder.decode().map_err(|e| broken(e.to_string()))?;
    if pixels.len() != width as usize * height as usize * 3 {
        return Err(broken("its colours are of an unknown kind".to_string()));
    }
    Ok(Rgb { width, height, pixels, orientation })
}
