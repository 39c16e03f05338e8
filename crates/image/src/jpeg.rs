//! JPEG: baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK. What is taken and which way is up is decided
//! here; the pixels come from zune-jpeg, or from libjpeg-turbo with the cargo feature `turbojpeg`.

use image::metadata::Orientation;

use super::error::ImageError;
use super::format::Format;
use super::jpeg_header::Header;
#[cfg(feature = "turbojpeg")]
use super::jpeg_turbo as pixels;
#[cfg(not(feature = "turbojpeg"))]
use super::jpeg_zune as pixels;
use super::limits::Limits;
use super::raster::Raster;

/// The most scans of a file. Honest encoders make about ten, and at most 18; each takes few bytes, but time for every
/// pixel.
pub(super) const MAX_SCANS: u16 = 100;

/// The most pixels that all scans of a file go through together: a large picture may have fewer scans, though never
/// fewer than honest ones have.
const MAX_SCANNED: u64 = 1_000_000_000;
const HONEST_SCANS: u64 = 20;

/// Decodes a JPEG into RGB.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, ImageError> {
    let format = Format::Jpeg;
    let broken = |reason: String| ImageError::Undecodable { format, reason };
    let header = Header::read(bytes).ok_or_else(|| broken("it has no complete header".to_string()))?;
    let Header { width, height, components, exif, scans, whole } = header;
    limits.check_size(format, width, height)?;
    if !matches!(components, 1 | 3 | 4) {
        return Err(broken(format!("pictures of {components} colour components are not supported")));
    }
    if !whole {
        return Err(broken("it ends too early".to_string()));
    }
    let most = (MAX_SCANNED / (u64::from(width) * u64::from(height))).clamp(HONEST_SCANS, MAX_SCANS.into());
    if scans as u64 > most {
        return Err(broken(format!("it has {scans} scans; at this size at most {most} are gone through")));
    }
    let orientation = exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    // A decoder keeps the coefficients of all scans, of 16 bits each, where there are several.
    let coefficients = if scans > 1 { 2 * u64::from(components) } else { 0 };
    let _held = limits.hold(format, (3 + coefficients) * u64::from(width) * u64::from(height))?;
    let pixels = pixels::rgb(bytes, &header).map_err(broken)?;
    Ok(Raster { format, width, height, pixels, orientation, _held })
}
