//! Reads headers of PNG, GIF, WebP and TIFF files without decoding. The limits are checked against these values, because
//! the decoders allocate memory by them before they validate them. JPEG headers are read in `jpeg_header.rs`.

use std::borrow::Cow;

/// Returns width and height from the IHDR chunk, which is always the first chunk (PNG specification, 11.2.1).
pub(super) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let [w0, w1, w2, w3, h0, h1, h2, h3] = *bytes.get(12..24)?.strip_prefix(b"IHDR")? else { return None };
    Some((u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3])))
}

/// The position and size of a GIF's first frame, in pixels of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GifFrame {
    left: u32,
    top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Returns the first frame of a GIF (GIF89a specification, 20: image descriptor). The frame may be larger than the screen, and
/// the decoder allocates memory for the frame.
pub(super) fn gif_frame(bytes: &[u8]) -> Option<GifFrame> {
    // Signature and logical screen descriptor; its flags say whether a colour table follows.
    let mut rest = bytes.get(13..)?;
    rest = rest.get(table_length(*bytes.get(10)?)..)?;
    loop {
        match *rest.first()? {
            // An extension: a label, then blocks up to an empty one.
            0x21 => {
                rest = rest.get(2..)?;
                loop {
                    let length = usize::from(*rest.first()?);
                    rest = rest.get(1 + length..)?;
                    if length == 0 {
                        break;
                    }
                }
            }
            0x2c => {
                let [left, top, width, height] =
                    [u16_at(rest, 1)?, u16_at(rest, 3)?, u16_at(rest, 5)?, u16_at(rest, 7)?];
                return Some(GifFrame { left, top, width, height });
            }
            _ => return None,
        }
    }
}

/// Returns the file with a screen that holds the first frame, as Pillow and browsers display it. A frame that ends beyond the
/// largest possible screen stays cut.
pub(super) fn with_gif_screen<'a>(bytes: &'a [u8], frame: &GifFrame) -> Cow<'a, [u8]> {
    let (Some(width), Some(height)) = (u16_at(bytes, 6), u16_at(bytes, 8)) else { return Cow::Borrowed(bytes) };
    let needed = [width.max(frame.left + frame.width), height.max(frame.top + frame.height)];
    if needed == [width, height] {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    for (at, side) in [6, 8].into_iter().zip(needed) {
        let side = u16::try_from(side).unwrap_or(u16::MAX);
        bytes[at..at + 2].copy_from_slice(&side.to_le_bytes());
    }
    Cow::Owned(bytes)
}

/// Returns the length of a colour table in bytes; an entry has three.
fn table_length(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Returns width and height of the first bitstream of an extended WebP (RFC 9649, 2.7; its frames: RFC 6386, 9.1, and
/// RFC 9649, 3.4). The bitstream may be larger than the canvas, and the decoder allocates memory for the bitstream.
pub(super) fn webp_bitstream(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(12..)?;
    loop {
        let (name, length) = (rest.get(..4)?, u32_at(rest, 4)? as usize);
        let content = rest.get(8..)?;
        match name {
            // Width and height have 14 bits each; the upper two bits scale the display.
            b"VP8 " => return Some((u16_at(content, 6)? & 0x3fff, u16_at(content, 8)? & 0x3fff)),
            b"VP8L" => {
                let bits = u32_at(content, 1)?;
                return Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1));
            }
            // A frame of an animation: a header of 16 bytes, then chunks.
            b"ANMF" => rest = content.get(16..)?,
            // Chunks are padded to an even length.
            _ => rest = content.get(length.checked_add(length & 1)?..)?,
        }
    }
}

/// Returns the content of the EXIF chunk of an extended WebP, if the chunk is complete. Some programs write the head of JPEG's
/// EXIF segment into it, which is not part of the result.
pub(super) fn webp_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(12..).filter(|chunks| chunks.starts_with(b"VP8X"))?;
    loop {
        let (name, length) = (rest.get(..4)?, u32_at(rest, 4)? as usize);
        let content = rest.get(8..)?;
        if name == b"EXIF" {
            let content = content.get(..length)?;
            return Some(content.strip_prefix(b"Exif\0\0").unwrap_or(content));
        }
        rest = content.get(length.checked_add(length & 1)?..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u32> {
    let pair = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*pair).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}

/// Returns the largest number of values that a tag of a TIFF's first directory declares (TIFF 6.0, section 2; BigTIFF has
/// wider fields). The decoder allocates memory for them, up to 256 MiB, before it checks that they are present. `None` if
/// the directory is incomplete; then decoding fails.
pub(super) fn tiff_max_values(bytes: &[u8]) -> Option<u64> {
    let mut max = 0;
    for_each_tiff_tag(bytes, |tag| max = max.max(tag.count))?;
    Some(max)
}

/// Returns whether a TIFF declares another order of the bits in a byte (tag 266) than 1, the usual one.
pub(super) fn has_other_fill_order(bytes: &[u8]) -> bool {
    const SHORT: u64 = 3;
    let mut is_other = false;
    for_each_tiff_tag(bytes, |tag| is_other |= tag.tag == 266 && (tag.kind, tag.short) != (SHORT, 1));
    is_other
}

/// A tag of a TIFF's first directory.
struct TiffTag {
    tag: u64,
    /// The type of the values.
    kind: u64,
    /// The number of values.
    count: u64,
    /// The value, if it is a single 16-bit number.
    short: u64,
}

/// Calls `visit` with each tag of the first directory. `None` if the directory is incomplete.
fn for_each_tiff_tag(bytes: &[u8], mut visit: impl FnMut(&TiffTag)) -> Option<()> {
    let little = bytes.starts_with(b"II");
    let number = |at: usize, size: usize| tiff_number(bytes, at, size, little);
    let big = number(2, 2)? == 43;
    // The position of the directory's offset, and the lengths of the offset, of the number of entries, and of an entry.
    let (offset, width, count, entry) = if big { (8, 8, 8, 20) } else { (4, 4, 2, 12) };
    let start = usize::try_from(number(offset, width)?).ok()?;
    let entries = usize::try_from(number(start, count)?).ok()?;
    let first = start.checked_add(count)?;
    for index in 0..entries {
        // A tag and a type of two bytes each, the number of values, and the value.
        let start = index.checked_mul(entry)?.checked_add(first)?;
        let values = start.checked_add(4)?;
        let count = number(values, width)?;
        let [tag, kind] = [number(start, 2)?, number(start.checked_add(2)?, 2)?];
        visit(&TiffTag { tag, kind, count, short: number(values.checked_add(width)?, 2).unwrap_or(0) });
    }
    Some(())
}

/// Reads an unsigned integer of `size` bytes.
fn tiff_number(bytes: &[u8], at: usize, size: usize, little: bool) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(size)?)?.iter();
    let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(if little { field.rev().fold(0, join) } else { field.fold(0, join) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    fn gif_size(bytes: &[u8]) -> Option<(u32, u32)> {
        gif_frame(bytes).map(|frame| (frame.width, frame.height))
    }

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("../../tests/data/variants/{name}")).unwrap()
    }

    #[test]
    fn sizes_of_gif_and_webp_files_are_found() {
        let whole = GifFrame { left: 0, top: 0, width: 451, height: 300 };
        assert_eq!(gif_frame(&file("cat.gif")), Some(whole));
        assert_eq!(webp_bitstream(&file("cat.webp")), Some((451, 300)));
    }

    #[test]
    fn webp_exif_returns_complete_chunks_only() {
        let exif = std::fs::read("../../tests/data/kinds/exif_8.webp").unwrap();
        assert_eq!(webp_exif(&exif).map(<[u8]>::len), Some(26));
        assert_eq!(webp_exif(&file("cat.webp")), None);
        let chunks = b"RIFF\0\0\0\0WEBPVP8X\x01\0\0\0\x0a\0EXIF\x02\0\0\0II";
        assert_eq!(webp_exif(chunks), Some(&b"II"[..]));
        for end in 0..chunks.len() {
            assert_eq!(webp_exif(&chunks[..end]), None, "{end}");
        }
    }

    /// Without the check, the decoder would allocate four gigabytes.
    #[test]
    fn webp_exif_chunk_longer_than_the_file_is_ignored() {
        let mut bytes = std::fs::read("../../tests/data/kinds/exif_8.webp").unwrap();
        let length = bytes.len() - webp_exif(&bytes).unwrap().len() - 4;
        bytes[length..length + 4].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
        let limits = Limits { formats: "webp".parse().unwrap(), ..Limits::default() };
        assert_eq!(decode(&bytes, &limits).unwrap().displayed_size(), (151, 101));
    }

    #[test]
    fn truncated_files_do_not_panic() {
        for (bytes, find) in
            [(file("cat.gif"), gif_size as fn(&[u8]) -> Option<(u32, u32)>), (file("cat.webp"), webp_bitstream)]
        {
            for end in 0..bytes.len().min(2000) {
                let _ = find(&bytes[..end]);
            }
        }
        assert_eq!(gif_size(b"GIF89a\x01\0\x01\0\0\0\0\x21\xf9\0\x2c\0\0\0\0\xa0\x0f\xa0\x0f"), Some((4000, 4000)));
        assert_eq!(webp_bitstream(b"RIFF\0\0\0\0WEBPVP8X\xff\xff\xff\xff"), None);
    }

    #[test]
    fn tiff_max_values_reads_both_byte_orders_and_widths() {
        let little =
            b"II*\0\x08\0\0\0\x02\0\x00\x01\x03\0\x05\0\0\0\0\0\0\0\x11\x01\x04\0\xff\xff\xff\x0f\0\0\0\0\0\0\0\0";
        assert_eq!(tiff_max_values(little), Some(0x0fff_ffff));
        let big =
            b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x01\x01\0\0\x03\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0";
        assert_eq!(tiff_max_values(big), Some(0x1_0000_0002));
        for (whole, end) in [(&little[..], 30), (&big[..], 36)] {
            for length in 0..end {
                assert_eq!(tiff_max_values(&whole[..length]), None, "{length}");
            }
        }
        assert_eq!(tiff_max_values(b"II+\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    /// The decoder ignores the tag: the picture would be wrong.
    #[test]
    fn tiff_with_reversed_bits_is_refused() {
        let tiff = b"II*\0\x08\0\0\0\x01\0\x0a\x01\x03\0\x01\0\0\0\x02\0\0\0\0\0\0\0";
        assert!(has_other_fill_order(tiff));
        assert!(!has_other_fill_order(&std::fs::read("../../tests/data/kinds/exif_5.tiff").unwrap()));
        let limits = Limits { formats: "tiff".parse().unwrap(), ..Limits::default() };
        let reason = decode(tiff, &limits).unwrap_err().to_string();
        assert!(reason.contains("FillOrder"), "{reason}");
    }

    /// Without the check, the decoder would allocate memory for eight million values.
    #[test]
    fn tiff_tag_with_more_values_than_file_bytes_is_refused() {
        let tiff = b"II*\0\x08\0\0\0\x01\0\x17\x01\x01\0\0\0\x80\0\x1a\0\0\0\0\0\0\0";
        let limits = Limits { formats: "tiff".parse().unwrap(), ..Limits::default() };
        let reason = decode(tiff, &limits).unwrap_err().to_string();
        assert!(reason.contains("a tag declares more values"), "{reason}");
    }
}
