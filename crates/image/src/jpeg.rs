//! JPEG: decodes pixels by zune-jpeg or, with the cargo feature `turbojpeg`, by libjpeg-turbo.
//!
//! zune-jpeg is the default, since it needs only Rust to build. It returns wrong pixels for some files that few programs write:
//! `jpeg_header.rs` recognises them. jpeg-decoder decodes most of these and is slower; the others are refused. libjpeg-turbo is
//! faster than both and decodes all of them, but needs cmake and nasm.
//!
//! A damaged file is refused, also if libjpeg only warns of the damage. libjpeg-turbo's interface reports all warnings as errors, also
//! those of additional bytes. For the other decoders, `jpeg_damage.rs` makes the damage visible. They decode the rest of a damaged file.
//!
//! All return the same colours: CMYK and YCCK are read as Adobe stores them, inverted, with or without the Adobe marker; Pillow
//! does the same.

use super::jpeg_damage;
use super::jpeg_header::{Header, Kind};

/// Maximum number of scans. Real encoders write about ten, and at most 18. A scan has few bytes, but it takes time for every
/// pixel.
const MAX_SCANS: u16 = 100;

/// Maximum number of pixels that all scans of a file process together. It lowers the maximum number of scans for large
/// images, but never below [`ALWAYS_ALLOWED_SCANS`].
const MAX_SCANNED_PIXELS: u64 = 1_000_000_000;

/// More scans than a real encoder writes.
const ALWAYS_ALLOWED_SCANS: u64 = 20;

/// Returns the maximum number of scans for an image of this size; both sides are positive.
pub(super) fn max_scans(width: u32, height: u32) -> u64 {
    (MAX_SCANNED_PIXELS / (u64::from(width) * u64::from(height))).clamp(ALWAYS_ALLOWED_SCANS, MAX_SCANS.into())
}

/// Decodes a complete file to u8 RGB, `[height, width, 3]` laid out flat. The error is the decoder's reason, or the damage of the
/// file.
pub(super) fn decode_pixels(bytes: &[u8], header: &Header<'_>) -> Result<Vec<u8>, String> {
    #[cfg(feature = "turbojpeg")]
    let pixels = decode_with_turbo(bytes, header);
    #[cfg(not(feature = "turbojpeg"))]
    let pixels = match header.kind {
        Kind::Usual => decode_with_zune(&jpeg_damage::with_guards(bytes)?, header, true),
        Kind::Unusual { is_rgb, .. } => decode_unusual(&jpeg_damage::with_guards(bytes)?, header, is_rgb),
        Kind::Unsupported(reason) => Err(reason.to_string()),
    };
    pixels
}

/// Decodes what a damaged file still has. The missing pixels are grey, or what the decoder makes of missing data.
pub(super) fn decode_damaged(bytes: &[u8], header: &Header<'_>) -> Result<Vec<u8>, String> {
    // The decoders stop at an end marker. Behind a complete file, it has no effect.
    let bytes = [bytes, &[0xff, 0xd9]].concat();
    match header.kind {
        Kind::Usual => decode_with_zune(&bytes, header, false),
        Kind::Unusual { is_rgb, .. } => decode_unusual(&bytes, header, is_rgb),
        Kind::Unsupported(reason) => Err(reason.to_string()),
    }
}

/// Returns the memory that a decoder takes for a pixel, with the pixels that it returns, in bytes.
pub(super) fn pixel_memory(header: &Header<'_>) -> u64 {
    match header.kind {
        // Pixels, planes, and the rows of coefficients that its threads have not transformed; or all coefficients.
        Kind::Unusual { is_progressive: false, .. } => 12,
        Kind::Unusual { is_progressive: true, .. } => 18,
        // With several scans, the coefficients of all components, 16 bits each.
        _ if header.scans > 1 => 3 + 2 * u64::from(header.components),
        _ => 3,
    }
}

/// Returns the memory of the copy of the file in which damage becomes visible, in bytes.
pub(super) fn copy_memory(bytes: &[u8]) -> u64 {
    if cfg!(feature = "turbojpeg") { 0 } else { jpeg_damage::max_copy_length(bytes) as u64 }
}

/// Decodes a file of which zune-jpeg would return wrong pixels. The decoder starts a thread for each component of wide images.
fn decode_unusual(bytes: &[u8], header: &Header<'_>, is_rgb: bool) -> Result<Vec<u8>, String> {
    use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

    let text = |error: jpeg_decoder::Error| error.to_string();
    let size = header.width as usize * header.height as usize * 3;
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(size);
    decoder.set_color_transform(if is_rgb { ColorTransform::RGB } else { ColorTransform::YCbCr });
    decoder.read_info().map_err(text)?;
    let declared = decoder.info().map(|info| (info.width.into(), info.height.into(), info.pixel_format));
    if declared != Some((header.width, header.height, PixelFormat::RGB24)) {
        return Err(CONTRADICTION.to_string());
    }
    let pixels = decoder.decode().map_err(|error| damaged(&error))?;
    if pixels.len() == size { Ok(pixels) } else { Err(CONTRADICTION.to_string()) }
}

/// In strict mode, the decoder reports damage that it finds. Otherwise it returns the pixels before the damage.
pub(super) fn decode_with_zune(bytes: &[u8], header: &Header<'_>, is_strict: bool) -> Result<Vec<u8>, String> {
    use zune_core::bytestream::ZCursor;
    use zune_core::colorspace::ColorSpace;
    use zune_core::options::DecoderOptions;
    use zune_jpeg::JpegDecoder;

    // If the decoder reads a larger size than the checked one, it stops there.
    let options = DecoderOptions::default()
        .set_max_width(header.width as usize)
        .set_max_height(header.height as usize)
        .set_strict_mode(is_strict)
        .jpeg_set_max_scans(MAX_SCANS.into())
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let pixels = decoder.decode().map_err(|error| damaged(&error))?;
    if pixels.len() == header.width as usize * header.height as usize * 3 {
        Ok(pixels)
    } else {
        Err(CONTRADICTION.to_string())
    }
}

#[cfg(feature = "turbojpeg")]
pub(super) fn decode_with_turbo(bytes: &[u8], header: &Header<'_>) -> Result<Vec<u8>, String> {
    use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat};

    let (width, height) = (header.width as usize, header.height as usize);
    let text = |error: turbojpeg::Error| error.to_string();
    let mut decompressor = Decompressor::new().map_err(text)?;
    decompressor.set_scan_limit(MAX_SCANS.into()).map_err(text)?;
    let read = decompressor.read_header(bytes).map_err(text)?;
    if (read.width, read.height) != (width, height) {
        return Err(CONTRADICTION.to_string());
    }
    let is_cmyk = matches!(read.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if is_cmyk { PixelFormat::CMYK } else { PixelFormat::RGB };
    let pitch = width * format.size();
    let mut pixels = vec![0; pitch * height];
    let image = Image { pixels: pixels.as_mut_slice(), width, pitch, height, format };
    decompressor.decompress(bytes, image).map_err(text)?;
    Ok(if is_cmyk { cmyk_to_rgb(&pixels) } else { pixels })
}

/// Inks are inverted: each value is the light that the ink leaves. It is multiplied by the light that black leaves.
#[cfg(feature = "turbojpeg")]
#[expect(clippy::cast_possible_truncation, reason = "the quotient is at most 255")]
fn cmyk_to_rgb(inks: &[u8]) -> Vec<u8> {
    let mix = |ink: u8, black: u8| ((u16::from(ink) * u16::from(black) + 127) / 255) as u8;
    inks.as_chunks::<4>().0.iter().flat_map(|&[c, m, y, k]| [c, m, y].map(|ink| mix(ink, k))).collect()
}

/// Returns the reason for an error behind the header.
fn damaged(error: &dyn std::error::Error) -> String {
    format!("the file is truncated or damaged: {error}")
}

const CONTRADICTION: &str = "its headers declare different sizes";
