//! JPEG by libjpeg-turbo (cargo feature `turbojpeg`): quicker than zune-jpeg, but needs cmake and nasm to build.
//! EXIF and colours are handled as in `jpeg.rs`.

use image::metadata::Orientation;

use super::decode::Rgb;
use super::error::ImageError;
use super::format::Format;
use super::jpeg_segments;
use super::limits::Limits;

/// Decodes a JPEG into RGB.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Rgb, ImageError> {
    let broken = |reason: String| ImageError::Undecodable { format: Format::Jpeg, reason };
    let mut decompressor = turbojpeg::Decompressor::new().map_err(|e| broken(e.to_string()))?;
    let header = decompressor.read_header(bytes).map_err(|e| broken(e.to_string()))?;
    let (width, height) = (header.width as u32, header.height as u32);
    limits.check_size(width, height)?;
    if !jpeg_segments::is_whole(bytes) {
        return Err(broken("it ends too early".to_string()));
    }
    let four_inks = matches!(header.colorspace, turbojpeg::Colorspace::CMYK | turbojpeg::Colorspace::YCCK);
    let (format, channels) =
        if four_inks { (turbojpeg::PixelFormat::CMYK, 4) } else { (turbojpeg::PixelFormat::RGB, 3) };
    let pitch = header.width * channels;
    let mut pixels = vec![0; pitch * header.height];
    let target =
        turbojpeg::Image { pixels: pixels.as_mut_slice(), width: header.width, pitch, height: header.height, format };
    decompressor.decompress(bytes, target).map_err(|e| broken(e.to_string()))?;
    let exif = jpeg_segments::exif(bytes);
    let orientation = exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    Ok(Rgb { width, height, pixels: if four_inks { rgb_of_inks(&pixels) } else { pixels }, orientation })
}

/// Inks are stored inverted, as Adobe does: what is left of the light, times what black leaves of it.
fn rgb_of_inks(inks: &[u8]) -> Vec<u8> {
    let mix = |ink: u8, black: u8| ((u16::from(ink) * u16::from(black) + 127) / 255) as u8;
    inks.as_chunks::<4>().0.iter().flat_map(|[c, m, y, k]| [mix(*c, *k), mix(*m, *k), mix(*y, *k)]).collect()
}
