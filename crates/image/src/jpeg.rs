//! JPEG: decodes to the pixels of libjpeg-turbo, which training pipelines use, with the exact IDCT and smooth upsampling, its
//! defaults.
//!
//! The decoder is libjpeg-turbo-rs, a port to Rust that returns the same pixels bit by bit. zune-jpeg and jpeg-decoder round
//! differently, by up to four levels, and return wrong pixels for some files; libjpeg-turbo itself needs CMake and an assembler for
//! its SIMD code.
//!
//! A damaged file is refused, also if libjpeg only warns of the damage. Like libjpeg, Kiln does not refuse additional bytes: some
//! cameras write them, and they cost no pixel.
//!
//! CMYK and YCCK are read as Adobe stores them, inverted, with or without the Adobe marker; Pillow does the same.

use std::borrow::Cow;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};

use libjpeg_turbo_rs::{ColorSpace, DecodeLimits, DecodeWarning, Decoder, PixelFormat, ScalingFactor};

use super::jpeg_header::Header;
use super::jpeg_scans;

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

/// How the decoder treats missing or damaged data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The file is refused.
    Refuse,
    /// The missing pixels are grey, or those of the coarser scans.
    Accept,
}

/// Decodes a file to u8 RGB, `[height, width, 3]` laid out flat; both sides are divided by `reduction`, which is 1, 2, 4 or 8, and
/// rounded up. The inverse DCT then computes the lower frequencies alone. The error is the decoder's reason, or the damage of the
/// file.
pub(super) fn decode_pixels(
    bytes: &[u8],
    header: &Header<'_>,
    reduction: u32,
    damage: Damage,
) -> Result<Vec<u8>, String> {
    let mut bytes = Cow::Borrowed(bytes);
    if damage == Damage::Accept {
        // The decoder wants an end marker. Behind a complete file, it has no effect.
        bytes.to_mut().truncate(header.length);
        bytes.to_mut().extend([0xff, 0xd9]);
    }
    if header.has_partial_scans {
        bytes = jpeg_scans::with_split_scans(&bytes)?.into();
    }
    // The decoder reads data of strangers. If it panics, that is the file's fault, too.
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| decode_bytes(&bytes, header, reduction, damage)));
    decoded.unwrap_or_else(|_| Err(damaged(&"the decoder failed")))
}

fn damaged(error: &dyn Display) -> String {
    format!("the file is truncated or damaged: {error}")
}

/// Decodes a file whose scans have all components or one.
fn decode_bytes(bytes: &[u8], header: &Header<'_>, reduction: u32, damage: Damage) -> Result<Vec<u8>, String> {
    let (width, height) = header.size();
    let limits = DecodeLimits {
        max_width: width as usize,
        max_height: height as usize,
        max_pixels: u64::from(width) * u64::from(height),
        // Splitting makes up to three scans from one.
        max_scans: usize::from(MAX_SCANS) * 3,
        // The decoder does not count all of its memory; `decode_memory` does.
        max_memory: None,
    };
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(|error| damaged(&error))?;
    decoder.set_output_format(PixelFormat::Rgb);
    decoder.set_scale(ScalingFactor::try_new(1, reduction).map_err(|error| error.to_string())?);
    // As libjpeg does if the finer scans of a progressive file are missing.
    decoder.set_block_smoothing(true);
    // In strict mode, the decoder refuses fewer samples of luma than of chroma.
    let is_luma_coarse = header.frame.is_first_coarse() && decoder.jpeg_color_space() == ColorSpace::YCbCr;
    if is_luma_coarse {
        decoder.set_output_colorspace(ColorSpace::YCbCr);
    }
    decoder.set_lenient(is_luma_coarse || damage == Damage::Accept);
    let mut image = decoder.decode_image().map_err(|error| damaged(&error))?;
    if [image.width, image.height] != [width, height].map(|side| side.div_ceil(reduction) as usize) {
        return Err("its headers declare different sizes".to_string());
    }
    let is_harmless = |warning: &&DecodeWarning| matches!(warning, DecodeWarning::ExtraneousData { .. });
    if damage == Damage::Refuse
        && let Some(warning) = image.warnings.iter().find(|warning| !is_harmless(warning))
    {
        return Err(damaged(warning));
    }
    if is_luma_coarse {
        image.data.as_chunks_mut().0.iter_mut().for_each(|pixel| *pixel = rgb_of(*pixel));
    }
    Ok(image.data)
}

/// Converts Y, Cb and Cr as libjpeg does (`jdcolor.c`), in fixed point with 16 bits behind the point.
fn rgb_of([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    let [luma, blue, red] = [i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128];
    let rounded = |sum: i32| (luma + ((sum + (1 << 15)) >> 16)).clamp(0, 255) as u8;
    [rounded(91_881 * red), rounded(-22_554 * blue - 46_802 * red), rounded(116_130 * blue)]
}

/// Returns the memory that decoding takes, with the pixels that it returns, in bytes.
pub(super) fn decode_memory(bytes: &[u8], header: &Header<'_>) -> u64 {
    /// Tables and buffers of the decoder.
    const DECODER: u64 = 200_000;
    /// Each scan keeps its Huffman tables.
    const SCAN: u64 = 80_000;
    let frame = header.frame.decode_memory();
    // The copy with other scans, and the positions of the blocks of 64 samples.
    let split = if header.has_partial_scans { 2 * bytes.len() as u64 + frame / 2 } else { 0 };
    frame + split + 5 * header.metadata as u64 + SCAN * header.scans as u64 + DECODER
}
