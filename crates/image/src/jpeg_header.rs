//! What a JPEG tells without being decoded (ITU-T T.81, B.1.1): its size, its EXIF block, how many scans it has, and
//! whether it is whole. Each decoder would answer these in its own way; here they are answered once.

/// A JPEG's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: u8,
    /// The TIFF structure of the first EXIF block.
    pub(super) exif: Option<&'a [u8]>,
    /// How many times a decoder goes through the picture: once if the first scan has everything.
    pub(super) scans: usize,
    /// Whether the end-of-image marker is there. Within a scan it cannot occur, and that of a thumbnail lies in a
    /// segment before. Decoders fill what is missing with grey and call it a picture.
    pub(super) whole: bool,
}

impl<'a> Header<'a> {
    /// Reads up to the first scan, and counts those behind it; `None` if there is none, or no frame header before it.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        const START_OF_SCAN: u8 = 0xda;
        let (mut frame, mut exif, mut progressive) = (None, None, false);
        let mut segments = Segments { rest: bytes.get(2..)? };
        let first_scan = loop {
            match segments.next()? {
                (START_OF_SCAN, content) => break content,
                // Start of frame; between them lie DHT, JPG and DAC. Every second of four is progressive.
                (marker @ 0xc0..=0xcf, &[_precision, h1, h0, w1, w0, components, ..]) => {
                    frame.get_or_insert((u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]), components));
                    progressive |= marker & 3 == 2;
                }
                (0xe1, content) => exif = exif.or(content.strip_prefix(b"Exif\0\0")),
                _ => (),
            }
        };
        let (width, height, components) = frame?;
        // From the back, since that is where it usually is.
        let whole = segments.rest.windows(2).rev().any(|pair| pair == [0xff, 0xd9]);
        let all_in_first = !progressive && first_scan.first().is_none_or(|count| *count >= components);
        // What is coded lies between the segments, and is stepped over like any rubbish.
        let scans = if all_in_first { 1 } else { 1 + segments.filter(|(marker, _)| *marker == START_OF_SCAN).count() };
        Some(Self { width: width.into(), height: height.into(), components, exif, scans, whole })
    }
}

/// Markers with the content of their segments.
struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // Decoders step over rubbish before a marker, and over fill bytes.
            let start = self.rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
            let marker = self.rest[start + 1];
            self.rest = &self.rest[start + 2..];
            match marker {
                // TEM, RSTn and SOI have no content.
                0x01 | 0xd0..=0xd8 => (),
                0xd9 => return None,
                // These look like frames and are none: DHT, JPG, DAC. They are of no interest here.
                _ => {
                    let (length, _) = self.rest.split_first_chunk()?;
                    let (segment, rest) = self.rest.split_at_checked(u16::from_be_bytes(*length).into())?;
                    self.rest = rest;
                    let content = segment.get(2..)?;
                    if !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                        return Some((marker, content));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Header;

    const FRAME: [u8; 10] = [0xff, 0xc0, 0x00, 0x08, 8, 0x01, 0x02, 0x03, 0x04, 3];
    const SCAN: [u8; 6] = [0xff, 0xda, 0x00, 0x02, 0x12, 0x34];
    const END: [u8; 2] = [0xff, 0xd9];

    fn exif(content: &[u8]) -> Vec<u8> {
        [&[0xff, 0xe1, 0x00, content.len() as u8 + 8][..], b"Exif\0\0", content].concat()
    }

    fn jpeg(parts: &[&[u8]]) -> Vec<u8> {
        [&[0xff, 0xd8][..], &parts.concat()].concat()
    }

    #[test]
    fn the_size_and_the_first_exif_block_are_found() {
        let bytes = jpeg(&[b"rubbish", &[0xff, 0xff], &exif(b"one"), &exif(b"two"), &FRAME, &SCAN, &END]);
        let header = Header { width: 0x304, height: 0x102, components: 3, exif: Some(b"one"), scans: 1, whole: true };
        assert_eq!(Header::read(&bytes), Some(header));
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_picture() {
        let cut = jpeg(&[&exif(&END), &FRAME, &SCAN]);
        assert!(!Header::read(&cut).unwrap().whole);
        assert!(Header::read(&[&cut[..], &END].concat()).unwrap().whole);
    }

    #[test]
    fn scans_are_counted_up_to_the_end_where_a_decoder_would_go_through_them() {
        let progressive = [&[0xff, 0xc2][..], &FRAME[2..]].concat();
        let coded = [&SCAN[..], &[1, 2, 0xff, 0x00, 0xda, 0xff, 0xd0, 3]].concat();
        let hidden = [0xff, 0xfe, 0x00, 0x04, 0xff, 0xd9];
        let scans = |parts: &[&[u8]]| Header::read(&jpeg(parts)).unwrap().scans;
        assert_eq!(scans(&[&progressive, &coded, &coded, &hidden, &coded, &END, &coded]), 3);
        assert_eq!(scans(&[&FRAME, &coded, &coded, &END]), 1);
        let of_one = [0xff, 0xda, 0x00, 0x03, 1];
        assert_eq!(scans(&[&FRAME, &of_one, &of_one, &of_one, &END]), 3);
    }

    #[test]
    fn huffman_tables_are_no_frames_and_a_scan_needs_one() {
        let tables = [0xff, 0xc4, 0x00, 0x08, 8, 9, 9, 9, 9, 1];
        assert_eq!(Header::read(&jpeg(&[&tables, &FRAME, &SCAN])).unwrap().width, 0x304);
        assert_eq!(Header::read(&jpeg(&[&tables, &SCAN, &END])), None);
    }

    #[test]
    fn a_header_that_ends_anywhere_is_no_header() {
        let bytes = jpeg(&[&exif(b"one"), &FRAME, &SCAN]);
        for length in 0..bytes.len() - 2 {
            assert_eq!(Header::read(&bytes[..length]), None, "{length}");
        }
    }
}
