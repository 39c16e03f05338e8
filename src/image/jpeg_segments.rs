//! The segments before a JPEG's first scan (ITU-T T.81, B.1.1): is the file whole, and where is its EXIF block.

/// The marker and the content of each segment before the first scan, and where that scan begins.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.bytes.get(self.at..self.at + 4)? {
                // Fill bytes may stand before a marker.
                [0xff, 0xff, ..] => self.at += 1,
                [0xff, 0xda, ..] => return None,
                [0xff, marker, high, low] => {
                    let length = usize::from(u16::from_be_bytes([high, low]));
                    let content = self.bytes.get(self.at + 4..self.at + 2 + length)?;
                    self.at += 2 + length;
                    return Some((marker, content));
                }
                _ => return None,
            }
        }
    }
}

fn segments(bytes: &[u8]) -> Segments<'_> {
    Segments { bytes, at: 2 }
}

/// Whether an end-of-image marker follows the first scan. Within a scan it cannot occur, and that of a thumbnail
/// lies in a segment, which is stepped over. A decoder would fill what is missing with grey and call it a picture.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut segments = segments(bytes);
    segments.by_ref().for_each(drop);
    let scans = bytes.get(segments.at..).unwrap_or_default();
    // Where the segments do not lead to a scan, the decoder knows better.
    !scans.starts_with(&[0xff, 0xda]) || scans.windows(2).any(|pair| pair == [0xff, 0xd9])
}

/// The TIFF structure of the first EXIF block.
#[cfg(feature = "turbojpeg")]
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    segments(bytes).find_map(|(marker, content)| {
        let is_app1 = marker == 0xe1;
        content.strip_prefix(b"Exif\0\0").filter(|_| is_app1)
    })
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_picture() {
        let app1 = [0xff, 0xe1, 0x00, 0x06, 0xff, 0xd9, 0x00, 0x00];
        let scan = [0xff, 0xda, 0x00, 0x02, 0x12, 0x34];
        let cut: Vec<u8> = [&[0xff, 0xd8][..], &app1, &scan].concat();
        assert!(!is_whole(&cut));
        assert!(is_whole(&[&cut[..], &[0xff, 0xd9]].concat()));
    }
}
