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

use super::decoded_image::Extent;
use super::jpeg_header::{Frame, Header};
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

/// Decodes a file to u8 RGB, `[height, width, 3]` laid out flat; both sides are divided by `reduction`, which is 1, 2, 4 or 8, and
/// rounded up. The inverse DCT then computes the lower frequencies alone. The error is the decoder's reason, or the damage of the
/// file.
pub(super) fn decode_pixels(
    bytes: &[u8],
    header: &Header<'_>,
    reduction: u32,
    extent: Extent,
) -> Result<Vec<u8>, String> {
    let mut bytes = Cow::Borrowed(bytes);
    if extent == Extent::Part {
        // The decoder wants an end marker. Behind a complete file, it has no effect.
        bytes.to_mut().truncate(header.length);
        bytes.to_mut().extend([0xff, 0xd9]);
    }
    // The decoder reads data of strangers. If it panics, that is the file's fault, too.
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| decode_bytes(&bytes, header, reduction, extent)));
    decoded.unwrap_or_else(|_| Err(damaged(&"the decoder failed")))
}

fn damaged(error: &dyn Display) -> String {
    format!("the file is truncated or damaged: {error}")
}

fn decode_bytes(bytes: &[u8], header: &Header<'_>, reduction: u32, extent: Extent) -> Result<Vec<u8>, String> {
    let is_part = extent == Extent::Part;
    let split = header.has_partial_scans.then(|| jpeg_scans::with_split_scans(bytes, is_part)).transpose()?;
    let bytes = split.as_deref().unwrap_or(bytes);
    let (width, height) = header.size();
    let limits = DecodeLimits {
        max_width: width as usize,
        max_height: height as usize,
        max_pixels: u64::from(width) * u64::from(height),
        // Splitting makes up to three scans from one.
        max_scans: header.scans * if header.has_partial_scans { 3 } else { 1 },
        // The decoder does not count all of its memory; `decode_memory` does.
        max_memory: None,
    };
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(|error| damaged(&error))?;
    if !is_frame_of(&header.frame, &decoder) {
        return Err("its headers contradict each other".to_string());
    }
    decoder.set_output_format(PixelFormat::Rgb);
    decoder.set_scale(ScalingFactor::try_new(1, reduction).map_err(|error| error.to_string())?);
    // As libjpeg does if the finer scans of a progressive file are missing.
    decoder.set_block_smoothing(true);
    // In strict mode, the decoder refuses fewer samples of luma than of chroma.
    let is_luma_coarse = header.frame.is_first_coarse() && decoder.jpeg_color_space() == ColorSpace::YCbCr;
    if is_luma_coarse {
        decoder.set_output_colorspace(ColorSpace::YCbCr);
    }
    decoder.set_lenient(is_luma_coarse || is_part);
    let mut image = decoder.decode_image().map_err(|error| damaged(&error))?;
    if [image.width, image.height] != [width, height].map(|side| side.div_ceil(reduction) as usize) {
        return Err("its headers declare different sizes".to_string());
    }
    let is_harmless = |warning: &&DecodeWarning| matches!(warning, DecodeWarning::ExtraneousData { .. });
    if !is_part && let Some(warning) = image.warnings.iter().find(|warning| !is_harmless(warning)) {
        return Err(damaged(warning));
    }
    if is_luma_coarse {
        image.data.as_chunks_mut().0.iter_mut().for_each(|pixel| *pixel = rgb_of(*pixel));
    }
    Ok(image.data)
}

/// Returns whether the decoder found the frame header by whose size Kiln has acquired memory. Behind TEM and other markers without a
/// segment, the decoder skips a segment, so it may find another frame header.
fn is_frame_of(frame: &Frame<'_>, decoder: &Decoder<'_>) -> bool {
    let found = decoder.header();
    let parts = found.components.iter().map(|part| {
        let factors = part.horizontal_sampling << 4 | part.vertical_sampling;
        [part.id, factors, part.quant_table_index]
    });
    let has_known_process = !found.is_lossless && !decoder.is_arithmetic() && found.precision == 8;
    has_known_process
        && found.is_progressive == frame.is_progressive()
        && [found.width, found.height] == [frame.width, frame.height]
        && parts.eq(frame.specifications.iter().copied())
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

#[cfg(test)]
mod tests {
    use crate::{Limits, decode};

    const END: [u8; 2] = [0xff, 0xd9];

    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        [&[0xff, marker], &(content.len() as u16 + 2).to_be_bytes()[..], content].concat()
    }

    /// A progressive frame header of 64 pixels square, behind a table.
    fn frame(components: u8) -> Vec<u8> {
        let parts: Vec<u8> = (1..=components).flat_map(|id| [id, 0x11, 0]).collect();
        let frame = segment(0xc2, &[&[8, 0, 64, 0, 64, components][..], &parts].concat());
        [segment(0xdb, &[&[0][..], &[1; 64]].concat()), frame].concat()
    }

    /// Tables with the single code `0`, which stands for no difference of DC, and for the end of the bands of 2^14 blocks.
    fn tables() -> Vec<u8> {
        let table = |class: u8, meaning: u8| segment(0xc4, &[&[class, 1][..], &[0; 15], &[meaning]].concat());
        [table(0, 0), table(0x10, 0xe0)].concat()
    }

    fn scan(components: u8, band: [u8; 3]) -> Vec<u8> {
        let parts: Vec<u8> = (1..=components).flat_map(|id| [id, 0]).collect();
        [segment(0xda, &[&[components][..], &parts, &band].concat()), vec![0; 32]].concat()
    }

    fn decoded(parts: &[&[u8]]) -> Result<usize, String> {
        let file = [&[0xff, 0xd8][..], &parts.concat()].concat();
        decode(&file, &Limits::default()).map(|image| image.pixels.len()).map_err(|error| error.to_string())
    }

    /// Behind the marker TEM, which has no segment, the decoder skips one.
    #[test]
    fn another_frame_of_the_decoder_is_refused() {
        let (grey, inks) = (frame(1), frame(4));
        let rest = [tables(), scan(4, [0, 0, 0]), END.to_vec()].concat();
        assert_eq!(decoded(&[&inks, &rest]), Ok(64 * 64 * 3));
        let hidden = (grey.len() as u16 + 2).to_be_bytes();
        let error = decoded(&[&[0xff, 0x01], &hidden, &grey, &inks, &rest]).unwrap_err();
        assert!(error.contains("its headers contradict each other"), "{error}");
    }

    /// The decoder skips the head of a comment, and reads its content.
    #[test]
    fn more_scans_of_the_decoder_are_refused() {
        let (first, second) = (scan(1, [0, 0, 0]), scan(1, [1, 63, 1]));
        let refined = scan(1, [1, 63, 0x10]);
        let comment = segment(0xfe, &refined.repeat(20));
        let file = |head: &[u8]| decoded(&[&frame(1), &tables(), &first, &second, head, &comment, &END]);
        assert_eq!(file(&[]), Ok(64 * 64 * 3));
        let error = file(&[0xff, 0x01, 0, 6]).unwrap_err();
        assert!(error.contains("scan count"), "{error}");
    }
}
