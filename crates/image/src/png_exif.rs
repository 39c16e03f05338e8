//! Finds the EXIF block of a PNG, without decoding.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// The head of JPEG's EXIF segment, which some programs write in front of the block.
const SEGMENT_HEAD: &[u8] = b"Exif\0\0";
/// The keyword of the text in which ImageMagick stores the block.
const PROFILE: &[u8] = b"Raw profile type exif\0";
/// The maximum length of that text. JPEG's EXIF segment has at most 64 KiB, and the text two digits for each byte.
const MAX_TEXT: u64 = 1 << 18;

/// Returns the EXIF block: the content of the eXIf chunk (PNG specification, 11.3.4.5), or else of the first text of ImageMagick. Both
/// may stand before or behind the image data. Only one text is decompressed, because a file may have many.
pub(super) fn png_exif(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    if let Some((_, block)) = chunks(bytes).find(|(name, _)| *name == b"eXIf") {
        return Some(Cow::Borrowed(block.strip_prefix(SEGMENT_HEAD).unwrap_or(block)));
    }
    let (name, content) = chunks(bytes).find(|(name, content)| is_profile(**name, content))?;
    let block = profile(*name, content)?;
    Some(Cow::Owned(block.strip_prefix(SEGMENT_HEAD).map(<[u8]>::to_vec).unwrap_or(block)))
}

/// Iterates over the names and contents of complete chunks up to the end of the image.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let (length, chunk) = rest.split_first_chunk()?;
        let (name, content) = chunk.split_first_chunk()?;
        let (content, behind) = content.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        // The checksum follows.
        rest = behind.get(4..).unwrap_or(&[]);
        (name != b"IEND").then_some((name, content))
    })
}

fn is_profile(name: [u8; 4], content: &[u8]) -> bool {
    matches!(&name, b"tEXt" | b"zTXt") && content.starts_with(PROFILE)
}

/// Decodes a text of ImageMagick: a line feed, lines with the name and the length of the profile, and lines of hexadecimal digits.
fn profile(name: [u8; 4], content: &[u8]) -> Option<Vec<u8>> {
    let content = content.strip_prefix(PROFILE)?;
    let mut text = Vec::new();
    match &name {
        b"tEXt" => text.extend_from_slice(content),
        // The method of compression, which is always the same, and the compressed text.
        b"zTXt" => {
            ZlibDecoder::new(content.get(1..)?).take(MAX_TEXT).read_to_end(&mut text).ok()?;
        }
        _ => return None,
    }
    let digits: Vec<u8> = text.split(|byte| *byte == b'\n').skip(3).flatten().copied().collect();
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = |&[upper, lower]: &[u8; 2]| u8::try_from(value(upper)? << 4 | value(lower)?).ok();
    digits.as_chunks().0.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;
    use crate::{Limits, decode};

    fn file() -> Vec<u8> {
        std::fs::read("../../tests/data/kinds/exif_6.png").unwrap()
    }

    /// Some programs append the chunk.
    #[test]
    fn chunk_is_found_before_and_behind_the_image_data() {
        let mut png = file();
        let length = png_exif(&png).unwrap().len();
        let at = png.windows(4).position(|name| name == b"eXIf").unwrap() - 4;
        let chunk: Vec<u8> = png.drain(at..at + 12 + length).collect();
        assert_eq!(png_exif(&png), None);
        let end = png.len() - 12;
        png.splice(end..end, chunk);
        assert_eq!(png_exif(&png).unwrap().len(), length);
        assert_eq!(decode(&png, &Limits::default()).unwrap().displayed_size(), (101, 151));
    }

    #[test]
    fn text_of_imagemagick_is_decoded() {
        let text = b"Raw profile type exif\0\nexif\n       4\n4949\n2a00\n";
        assert_eq!(profile(*b"tEXt", text), Some(b"II*\0".to_vec()));
        for other in [&text[..20], b"Comment\0\nexif\n 4\n4949", b"Raw profile type exif\0\nexif\n1\nx9"] {
            assert_eq!(profile(*b"tEXt", other), None, "{other:?}");
        }
        assert_eq!(profile(*b"zTXt", text), None, "it is not compressed");
    }

    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length[..], name, content, &[0; 4]].concat()
    }

    #[test]
    fn first_text_of_imagemagick_counts_and_nothing_behind_the_end() {
        let end = chunk(b"IEND", b"");
        let valid = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\n49492a00");
        let invalid = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 1\nx9");
        let other = chunk(b"tEXt", b"Comment\0x");
        let exif = |parts: &[&[u8]]| png_exif(&[SIGNATURE, &parts.concat()].concat()).map(Cow::into_owned);
        assert_eq!(exif(&[&other, &valid, &invalid, &end]), Some(b"II*\0".to_vec()));
        assert_eq!(exif(&[&invalid, &valid, &end]), None);
        assert_eq!(exif(&[&end, &valid]), None);
        assert_eq!(exif(&[&end, &chunk(b"eXIf", b"II*\0")]), None);
    }

    /// Each of the texts would be decompressed to 256 KiB.
    #[test]
    fn many_texts_take_little_time() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&[&b"\n\n\n"[..], &[b'x'; 1 << 18]].concat()).unwrap();
        let text = [PROFILE, &[0], &encoder.finish().unwrap()].concat();
        let png = [SIGNATURE, &chunk(b"zTXt", &text).repeat(40_000)].concat();
        let start = Instant::now();
        assert_eq!(png_exif(&png), None);
        assert!(start.elapsed().as_secs_f64() < 1.0, "{:?}", start.elapsed());
    }

    #[test]
    fn truncated_chunks_are_ignored() {
        let png = file();
        let at = png.windows(4).position(|name| name == b"eXIf").unwrap();
        for end in 0..at + 4 + png_exif(&png).unwrap().len() {
            assert_eq!(png_exif(&png[..end]), None, "{end}");
        }
    }
}
