//! Rewrites files that Pillow and browsers display and that the decoders refuse: PNG with wrong checksums or without an end, BMP
//! without its last padding or with the header of OS/2. No pixel is missing in them.

use std::io::Read;

use flate2::Crc;
use flate2::read::ZlibDecoder;

use super::bmp::{FILE_HEADER, Header, OS2_V1_HEADER, OS2_V2_HEADER, WINDOWS_HEADER, number};
use super::format::Format;
use super::header;

/// A file without the flaw.
pub(super) struct Repaired {
    pub(super) bytes: Vec<u8>,
    /// Whether no pixel is missing or damaged.
    pub(super) is_whole: bool,
}

/// Returns the file without such a flaw; `None` if it has none that is known.
pub(super) fn repaired(bytes: &[u8], format: Format) -> Option<Repaired> {
    match format {
        Format::Png => png_with_checksums(bytes),
        Format::Bmp => {
            let windows = bmp_with_windows_header(bytes);
            let padded = bmp_with_padding(windows.as_deref().unwrap_or(bytes));
            padded.or(windows).map(|bytes| Repaired { bytes, is_whole: true })
        }
        _ => None,
    }
}

const PNG_SIGNATURE: usize = 8;

/// Corrects the checksums of IDAT and IEND chunks, and adds a missing end (PNG specification, 5.3). Pillow does not read
/// the checksum of image data, but that of every other chunk. The compressed data has a checksum of its own, which the decoder
/// ignores.
fn png_with_checksums(bytes: &[u8]) -> Option<Repaired> {
    let mut repaired = bytes.get(..PNG_SIGNATURE)?.to_vec();
    let mut rest = &bytes[PNG_SIGNATURE..];
    let (mut data, mut has_end) = (Vec::new(), false);
    while let Some((length, chunk)) = rest.split_first_chunk::<4>() {
        let Some(name) = chunk.get(..4) else { break };
        let length = u32::from_be_bytes(*length) as usize;
        // The last chunk may be cut, or its checksum.
        let (content, behind) = chunk[4..].split_at_checked(length).unwrap_or((&chunk[4..], &[]));
        let (checksum, next) = behind.split_at_checked(4).unwrap_or((&[], &[]));
        repaired.extend(u32::try_from(content.len()).ok()?.to_be_bytes());
        repaired.extend_from_slice(name);
        repaired.extend_from_slice(content);
        if name == b"IDAT" {
            data.extend_from_slice(content);
        }
        if matches!(name, b"IDAT" | b"IEND") {
            repaired.extend(png_checksum(name, content));
        } else {
            repaired.extend_from_slice(checksum);
        }
        has_end |= name == b"IEND";
        rest = next;
    }
    if !has_end {
        repaired.extend(0_u32.to_be_bytes());
        repaired.extend(b"IEND");
        repaired.extend(png_checksum(b"IEND", b""));
    }
    let is_whole = has_whole_data(&data, max_png_data(bytes)?);
    (repaired != bytes).then_some(Repaired { bytes: repaired, is_whole })
}

/// Returns the most bytes of filtered samples that a PNG of its size has: 16-bit RGBA, and a filter byte for each row of each pass.
fn max_png_data(bytes: &[u8]) -> Option<u64> {
    let (width, height) = header::png_size(bytes)?;
    (u64::from(width) * u64::from(height)).checked_mul(8)?.checked_add(8 * (u64::from(height) + 8))
}

/// Returns whether compressed data inflates to at most `max` bytes that have its checksum (RFC 1950, Adler-32).
fn has_whole_data(data: &[u8], max: u64) -> bool {
    let mut inflated = ZlibDecoder::new(data).take(max + 1);
    std::io::copy(&mut inflated, &mut std::io::sink()).is_ok_and(|length| length <= max)
}

fn png_checksum(name: &[u8], content: &[u8]) -> [u8; 4] {
    let mut checksum = Crc::new();
    checksum.update(name);
    checksum.update(content);
    checksum.sum().to_be_bytes()
}

/// Replaces the header of OS/2. `None` if it has another header, or a compression of OS/2.
fn bmp_with_windows_header(bytes: &[u8]) -> Option<Vec<u8>> {
    let is_known = number(bytes, FILE_HEADER)? == OS2_V2_HEADER && number(bytes, 30)? < 3;
    let pixels = number(bytes, 10)?.checked_sub(OS2_V2_HEADER - WINDOWS_HEADER)?;
    let (header, rest) = bytes.split_at_checked(FILE_HEADER + OS2_V2_HEADER as usize).filter(|_| is_known)?;
    let mut windows = [&header[..FILE_HEADER + WINDOWS_HEADER as usize], rest].concat();
    windows[10..14].copy_from_slice(&pixels.to_le_bytes());
    windows[14..18].copy_from_slice(&WINDOWS_HEADER.to_le_bytes());
    Some(windows)
}

/// Adds the padding of the last row, if nothing else is missing. Rows are padded to four bytes.
fn bmp_with_padding(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = Header::read(bytes)?;
    let half = |at: usize| bytes.get(at..at + 2).map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]])));
    let (width, height, depth, is_compressed) = if header.length == OS2_V1_HEADER {
        (half(18)?, half(20)?, half(24)?, false)
    } else {
        let height = number(bytes, 22)?.cast_signed().unsigned_abs();
        (number(bytes, 18)?, height, half(28)?, matches!(number(bytes, 30)?, 1 | 2))
    };
    let row = (u64::from(width) * u64::from(depth)).div_ceil(8);
    let end = u64::from(header.pixels()).checked_add(row.next_multiple_of(4).checked_mul(height.into())?)?;
    let missing = end.checked_sub(bytes.len() as u64)?;
    let is_padding = !is_compressed && missing > 0 && missing <= row.next_multiple_of(4) - row;
    let padding = [0; 3].get(..usize::try_from(missing).ok()?).filter(|_| is_padding)?;
    Some([bytes, padding].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageError, Limits, decode};

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("../../tests/data/{name}")).unwrap()
    }

    fn pixels(bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
        let limits = Limits { formats: "png,bmp".parse().unwrap(), ..Limits::default() };
        decode(bytes, &limits).map(|image| image.pixels)
    }

    /// Position of a PNG chunk's name.
    fn chunk(png: &[u8], name: &[u8]) -> usize {
        png.windows(4).position(|four| four == name).unwrap()
    }

    #[test]
    fn png_without_end_or_checksums_of_image_data_is_decoded() {
        let whole = file("variants/cat_palette.png");
        let expected = pixels(&whole).unwrap();
        let end = chunk(&whole, b"IEND");
        // Without the end, in the checksum of the last image data, and without that checksum.
        for length in [end + 4, end, end - 4, end - 6, end - 8] {
            assert_eq!(pixels(&whole[..length]), Ok(expected.clone()), "{length}");
        }
        let mut wrong = whole.clone();
        wrong[end - 5] ^= 1;
        wrong[end + 4] ^= 1;
        assert_eq!(pixels(&wrong), Ok(expected));
        // A wrong bit in the image data, a cut in it, and a wrong checksum of another chunk.
        for position in [end - 2000, end - 700, end - 60] {
            let mut damaged = whole.clone();
            damaged[position] ^= 4;
            assert!(pixels(&damaged).is_err(), "{position}");
        }
        assert!(pixels(&whole[..end - 40]).is_err());
        let mut header = whole;
        header[8 + 4 + 4 + 13] ^= 1;
        assert!(pixels(&header).is_err());
    }

    #[test]
    fn bmp_without_its_last_padding_is_decoded() {
        let whole = file("variants/cat.bmp");
        let expected = pixels(&whole).unwrap();
        // Rows of 451 pixels have three bytes of padding.
        for missing in 1..=3 {
            assert_eq!(pixels(&whole[..whole.len() - missing]), Ok(expected.clone()), "{missing}");
        }
        assert!(pixels(&whole[..whole.len() - 4]).is_err());
        // Without the position of the pixels, which are behind the header.
        let mut without = whole[..whole.len() - 2].to_vec();
        without[10..14].fill(0);
        assert_eq!(pixels(&without), Ok(expected));
    }

    #[test]
    fn truncated_headers_do_not_panic() {
        for (name, format) in [("variants/cat_palette.png", Format::Png), ("variants/cat.bmp", Format::Bmp)] {
            let whole = file(name);
            for length in 0..200 {
                let _ = repaired(&whole[..length], format);
            }
        }
    }
}
