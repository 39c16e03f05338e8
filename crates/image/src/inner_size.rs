//! Sizes that lie behind the first header: a GIF's frame and a WebP's bitstream need not fit their canvas, and it is
//! them that cost memory. Nothing is decoded here, and what a WebP says of its orientation is found on the way.

/// Width and height of a GIF's first frame (GIF89a specification, 20: image descriptor).
pub(super) fn gif_frame(bytes: &[u8]) -> Option<(u32, u32)> {
    // Signature and logical screen descriptor; the flags tell of a colour table behind it.
    let mut rest = bytes.get(13..)?;
    rest = rest.get(table_length(*bytes.get(10)?)..)?;
    loop {
        match *rest.first()? {
            // An extension: a label, then blocks until an empty one.
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
            0x2c => return Some((u16_at(rest, 5)?, u16_at(rest, 7)?)),
            _ => return None,
        }
    }
}

/// Bytes of a colour table of three for each entry.
fn table_length(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Width and height in the first bitstream of an extended WebP (RFC 9649, 2.7; its frames: RFC 6386, 9.1, and RFC 9649, 3.4).
pub(super) fn webp_bitstream(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(12..)?;
    loop {
        let (name, length) = (rest.get(..4)?, u32_at(rest, 4)? as usize);
        let content = rest.get(8..)?;
        match name {
            // Width and height are 14 bits each; what is above them scales the display.
            b"VP8 " => return Some((u16_at(content, 6)? & 0x3fff, u16_at(content, 8)? & 0x3fff)),
            b"VP8L" => {
                let bits = u32_at(content, 1)?;
                return Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1));
            }
            // A frame of an animation: 16 bytes of its own, then chunks.
            b"ANMF" => rest = content.get(16..)?,
            // Chunks are padded to an even length.
            _ => rest = content.get(length.checked_add(length & 1)?..)?,
        }
    }
}

/// What is in the EXIF chunk of an extended WebP, if all of it is there.
pub(super) fn webp_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(12..).filter(|chunks| chunks.starts_with(b"VP8X"))?;
    loop {
        let (name, length) = (rest.get(..4)?, u32_at(rest, 4)? as usize);
        let content = rest.get(8..)?;
        if name == b"EXIF" {
            return content.get(..length);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("../../tests/data/variants/{name}")).unwrap()
    }

    #[test]
    fn the_sizes_of_real_files_are_found() {
        assert_eq!(gif_frame(&file("cat.gif")), Some((451, 300)));
        assert_eq!(webp_bitstream(&file("cat.webp")), Some((451, 300)));
    }

    #[test]
    fn an_exif_chunk_is_found_if_it_is_whole() {
        let exif = std::fs::read("../../tests/data/kinds/exif_8.webp").unwrap();
        assert_eq!(webp_exif(&exif).map(<[u8]>::len), Some(26));
        assert_eq!(webp_exif(&file("cat.webp")), None);
        let chunks = b"RIFF\0\0\0\0WEBPVP8X\x01\0\0\0\x0a\0EXIF\x02\0\0\0II";
        assert_eq!(webp_exif(chunks), Some(&b"II"[..]));
        for end in 0..chunks.len() {
            assert_eq!(webp_exif(&chunks[..end]), None, "{end}");
        }
    }

    /// The decoder would first make room for four gigabytes.
    #[test]
    fn an_exif_chunk_that_claims_to_be_longer_than_its_file_is_none() {
        let mut bytes = std::fs::read("../../tests/data/kinds/exif_8.webp").unwrap();
        let length = bytes.len() - webp_exif(&bytes).unwrap().len() - 4;
        bytes[length..length + 4].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
        let limits = Limits { formats: "webp".parse().unwrap(), ..Limits::default() };
        assert_eq!(decode(&bytes, &limits).unwrap().displayed_size(), (151, 101));
    }

    #[test]
    fn files_that_end_anywhere_are_survived() {
        for (bytes, find) in
            [(file("cat.gif"), gif_frame as fn(&[u8]) -> Option<(u32, u32)>), (file("cat.webp"), webp_bitstream)]
        {
            for end in 0..bytes.len().min(2000) {
                let _ = find(&bytes[..end]);
            }
        }
        assert_eq!(gif_frame(b"GIF89a\x01\0\x01\0\0\0\0\x21\xf9\0\x2c\0\0\0\0\xa0\x0f\xa0\x0f"), Some((4000, 4000)));
        assert_eq!(webp_bitstream(b"RIFF\0\0\0\0WEBPVP8X\xff\xff\xff\xff"), None);
    }
}
