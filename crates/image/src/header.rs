//! Reads headers of PNG, WebP and TIFF files, and EXIF blocks, without decoding. The limits are checked against these values, because
//! the decoders allocate memory by them before they validate them. `gif_header.rs` and `jpeg_header.rs` read the other headers.

use std::collections::HashSet;

use image::metadata::Orientation;

/// Returns width and height from the IHDR chunk, which is always the first chunk (PNG specification, 11.2.1).
pub(super) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let [w0, w1, w2, w3, h0, h1, h2, h3] = *bytes.get(12..24)?.strip_prefix(b"IHDR")? else { return None };
    Some((u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3])))
}

/// Iterates over the chunks of a WebP (RFC 9649, 2.3): the name, the declared length, and the bytes behind both, up to the end of the
/// file.
pub(super) fn webp_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], usize, &[u8])> {
    let mut rest = bytes.get(12..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let (name, behind) = rest.split_first_chunk()?;
        let (length, content) = behind.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        // Chunks are padded to an even length.
        let next = length.checked_add(length & 1).and_then(|length| content.get(length..));
        rest = next.unwrap_or(&[]);
        Some((name, length, content))
    })
}

/// Returns width and height of the first bitstream of a WebP that is not within a frame of an animation (RFC 9649, 2.7; bitstreams:
/// RFC 6386, 9.1, and RFC 9649, 3.4). It may be larger than the canvas, and the decoder allocates memory for the bitstream.
pub(super) fn webp_bitstream(bytes: &[u8]) -> Option<(u32, u32)> {
    let is_bitstream = |name: &[u8; 4]| matches!(name, b"VP8 " | b"VP8L");
    let (name, _, content) = webp_chunks(bytes).find(|(name, ..)| is_bitstream(name))?;
    if name == b"VP8L" {
        let bits = u32_at(content, 1)?;
        return Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1));
    }
    // Width and height have 14 bits each; the upper two bits scale the display.
    Some((u16_at(content, 6)? & 0x3fff, u16_at(content, 8)? & 0x3fff))
}

/// Returns the content of the EXIF chunk of an extended WebP, if the chunk is complete. Some programs write the head of JPEG's
/// EXIF segment into it, which is not part of the result.
pub(super) fn webp_exif(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(12..).filter(|chunks| chunks.starts_with(b"VP8X"))?;
    let (_, length, content) = webp_chunks(bytes).find(|(name, ..)| *name == b"EXIF")?;
    let content = content.get(..length)?;
    Some(content.strip_prefix(b"Exif\0\0").unwrap_or(content))
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

/// Returns the values of a tag of a TIFF's first directory. `None` if it lacks the tag. If the values are not unsigned integers, if
/// they are not in the file, or if there are too many, the result is empty.
pub(super) fn tiff_values(bytes: &[u8], wanted: u64) -> Option<Vec<u64>> {
    let little = bytes.starts_with(b"II");
    let mut values = None;
    // The directory may be incomplete behind the tag.
    let _ = for_each_tiff_tag(bytes, |tag| {
        if tag.tag == wanted && values.is_none() {
            values = Some(tag.values(bytes, little).unwrap_or_default());
        }
    });
    values
}

/// Returns whether a tag stands in a TIFF's first directory twice. Kiln reads the first one, and the decoder of faxes the last one.
pub(super) fn has_repeated_tiff_tag(bytes: &[u8]) -> bool {
    let (mut known, mut is_repeated) = (HashSet::new(), false);
    for_each_tiff_tag(bytes, |tag| is_repeated |= !known.insert(tag.tag));
    is_repeated
}

/// Returns whether a TIFF declares another order of the bits in a byte (tag 266) than 1, the usual one.
pub(super) fn has_other_fill_order(bytes: &[u8]) -> bool {
    let mut is_other = false;
    for_each_tiff_tag(bytes, |tag| is_other |= tag.tag == 266 && (tag.kind, tag.short) != (SHORT, 1));
    is_other
}

/// Returns the orientation of an EXIF block, which is a TIFF structure. Like Pillow, it reads 16-bit and 32-bit numbers.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    let mut orientation = None;
    if ![b"II", b"MM"].iter().any(|order| exif.starts_with(*order)) {
        return Orientation::NoTransforms;
    }
    for_each_tiff_tag(exif, |tag| {
        if tag.tag == 274 && tag.count == 1 && matches!(tag.kind, SHORT | LONG) {
            let value = if tag.kind == SHORT { tag.short } else { tag.long };
            orientation = orientation.or_else(|| u8::try_from(value).ok().and_then(Orientation::from_exif));
        }
    });
    orientation.unwrap_or(Orientation::NoTransforms)
}

/// The type of 16-bit numbers.
const SHORT: u64 = 3;
/// The type of 32-bit numbers.
const LONG: u64 = 4;

/// Maximum number of values of a tag. Only the positions and lengths of strips or tiles can be so many.
const MAX_VALUES: usize = 1_000_000;

/// A tag of a TIFF's first directory.
struct TiffTag {
    tag: u64,
    /// The type of the values.
    kind: u64,
    /// The number of values.
    count: u64,
    /// The value, if it is a single 16-bit number.
    short: u64,
    /// The value, if it is a single 32-bit number.
    long: u64,
    /// The position and the length of the values, or of the offset at which they are.
    field: (usize, usize),
}

impl TiffTag {
    /// Reads the values: at most a million integers of 8, 16, 32 or 64 bits.
    fn values(&self, bytes: &[u8], little: bool) -> Option<Vec<u64>> {
        let size = match self.kind {
            1 => 1,
            SHORT => 2,
            LONG => 4,
            16 => 8,
            _ => return None,
        };
        let count = usize::try_from(self.count).ok().filter(|count| *count <= MAX_VALUES)?;
        let (at, width) = self.field;
        let length = count * size;
        let start = if length <= width { at } else { usize::try_from(tiff_number(bytes, at, width, little)?).ok()? };
        (0..count).map(|index| tiff_number(bytes, start.checked_add(index * size)?, size, little)).collect()
    }
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
        let at = values.checked_add(width)?;
        let value = |size: usize| number(at, size).unwrap_or(0);
        visit(&TiffTag { tag, kind, count, short: value(2), long: value(4), field: (at, width) });
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

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("../../tests/data/variants/{name}")).unwrap()
    }

    #[test]
    fn size_of_webp_is_found() {
        assert_eq!(webp_bitstream(&file("cat.webp")), Some((451, 300)));
    }

    #[test]
    fn orientation_is_read_from_short_and_long_numbers() {
        let block = |kind: u8, value: [u8; 4]| {
            [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0"[..], &[kind, 0, 0, 0, 1], &value, &[0; 4]].concat()
        };
        assert_eq!(orientation(&block(3, [0, 6, 0, 0])), Orientation::Rotate90);
        assert_eq!(orientation(&block(4, [0, 0, 0, 6])), Orientation::Rotate90);
        for other in [block(3, [0, 9, 0, 0]), block(4, [0, 1, 0, 6]), block(1, [6, 0, 0, 0]), b"MM\0*".to_vec()] {
            assert_eq!(orientation(&other), Orientation::NoTransforms, "{other:?}");
        }
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
        let webp = file("cat.webp");
        for end in 0..webp.len().min(2000) {
            let _ = webp_bitstream(&webp[..end]);
        }
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
