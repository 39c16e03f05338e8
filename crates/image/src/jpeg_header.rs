//! The header of a JPEG file (ITU-T T.81, B.1.1): size, EXIF block, number of scans, completeness, and which decoder returns the
//! right pixels. The decoders disagree on some of them, so Kiln reads them itself.

use super::jpeg_segments::{START_OF_SCAN, Segments};

const ADOBE: u8 = 0xee;

/// A JPEG's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// In pixels, before the EXIF orientation.
    pub(super) width: u32,
    /// In pixels, before the EXIF orientation.
    pub(super) height: u32,
    /// The number of colour components.
    pub(super) components: u8,
    /// The kind of the file, which determines the decoder.
    pub(super) kind: Kind,
    /// The TIFF structure of the first EXIF block that has one.
    pub(super) exif: Option<&'a [u8]>,
    /// The number of scans that the decoder of this kind processes. For usual files that is one if the first scan has all
    /// components.
    pub(super) scans: usize,
    /// True if the end-of-image marker is present. It cannot occur within a scan, and the marker of a thumbnail is inside an
    /// earlier segment. Without this check, decoders fill the missing part with grey and report no error.
    pub(super) is_complete: bool,
}

/// How many programs write such files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nearly all files.
    Usual,
    /// Three components in several baseline scans, with fewer samples of luma than of chroma, as RGB by Adobe's segment, or with
    /// contradictory names of the colour space.
    Unusual {
        /// Whether the components are red, green and blue, by the rules of libjpeg. Otherwise they are YCbCr.
        is_rgb: bool,
        is_progressive: bool,
    },
    /// No decoder in Rust is known to return the right pixels.
    Unsupported(&'static str),
}

/// The frame header: the process and the components.
pub(super) struct Frame<'a> {
    /// The lower half of the marker: 0 to 2 are baseline, extended and progressive.
    pub(super) process: u8,
    precision: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    components: u8,
    /// For each component an identifier, the horizontal and vertical sampling factor in one byte, and the number of a table.
    pub(super) specifications: &'a [[u8; 3]],
}

/// What the segments outside of the frame header declare.
#[derive(Default)]
struct Declarations {
    is_jfif: bool,
    /// The transform of Adobe's segment.
    adobe: Option<u8>,
    /// Whether Adobe's segment, or another one of its marker, stands between scans.
    has_late_adobe: bool,
    /// Whether the first scan has some of the components only.
    is_split: bool,
    scans: usize,
}

impl<'a> Header<'a> {
    /// Reads the segments up to the first scan, and counts the scans. `None` if there is no scan, or no frame header before it.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (mut frame, mut exif, mut declared) = (None, None, Declarations::default());
        let mut segments = Segments::new(bytes);
        let first_scan = loop {
            match segments.next()? {
                (START_OF_SCAN, content) => break content,
                (marker @ 0xc0..=0xcf, content) => frame = frame.or_else(|| Frame::read(marker, content)),
                (0xe0, content) => declared.is_jfif |= content.len() >= 14 && content.starts_with(b"JFIF\0"),
                (0xe1, content) => {
                    exif = exif.or(content.strip_prefix(b"Exif\0\0").filter(|content| !content.is_empty()));
                }
                // After the name: version, two words of flags, and the transform.
                (ADOBE, content) => {
                    let transform = content.strip_prefix(b"Adobe").and_then(|rest| rest.get(6)).copied();
                    declared.adobe = transform.or(declared.adobe);
                }
                _ => (),
            }
        };
        let frame = frame?;
        // Search from the end, where the marker usually is.
        let is_complete = bytes[segments.position..].windows(2).rev().any(|pair| pair == [0xff, 0xd9]);
        let has_all = first_scan.first().is_none_or(|count| *count >= frame.components);
        declared.is_split = !frame.is_progressive() && !has_all;
        declared.scans = 1;
        // The decoder of usual files reads a single scan, if that has all components. The iterator skips the entropy-coded data.
        if frame.is_progressive() || !has_all || frame.is_unusual(&declared) {
            for (marker, _) in segments {
                declared.scans += usize::from(marker == START_OF_SCAN);
                declared.has_late_adobe |= marker == ADOBE;
            }
        }
        Some(Self {
            width: frame.width.into(),
            height: frame.height.into(),
            components: frame.components,
            kind: frame.kind(&declared),
            exif,
            scans: declared.scans,
            is_complete,
        })
    }
}

impl<'a> Frame<'a> {
    /// Reads a segment. `None` if the marker is DHT, JPG or DAC, which are in the range of the frames, or if the segment is
    /// incomplete.
    pub(super) fn read(marker: u8, content: &'a [u8]) -> Option<Self> {
        match (marker, content) {
            (0xc4 | 0xc8 | 0xcc, _) => None,
            (0xc0..=0xcf, &[precision, h1, h0, w1, w0, components, ref rest @ ..]) => Some(Self {
                process: marker & 15,
                precision,
                width: u16::from_be_bytes([w1, w0]),
                height: u16::from_be_bytes([h1, h0]),
                components,
                specifications: rest.as_chunks().0,
            }),
            _ => None,
        }
    }

    pub(super) fn is_progressive(&self) -> bool {
        // Of four processes, the third is progressive.
        self.process & 3 == 2
    }

    /// The sampling factors of the components along an axis.
    pub(super) fn factors(&self, axis: usize) -> impl Iterator<Item = u8> {
        self.specifications.iter().map(move |part| if axis == 0 { part[1] >> 4 } else { part[1] & 15 })
    }

    fn is_named_rgb(&self) -> bool {
        self.specifications.iter().map(|part| part[0]).eq(*b"RGB")
    }

    /// Whether three components are red, green and blue, by the rules of libjpeg: JFIF, then Adobe, then the identifiers.
    fn is_rgb(&self, declared: &Declarations) -> bool {
        match declared.adobe {
            _ if declared.is_jfif => false,
            Some(transform) => transform == 0,
            None => self.is_named_rgb(),
        }
    }

    /// Whether zune-jpeg would return wrong pixels, or refuse the file.
    fn is_unusual(&self, declared: &Declarations) -> bool {
        let is_luma_coarse = (0..2).any(|axis| self.factors(axis).next() < self.factors(axis).max());
        let is_rgb = self.is_rgb(declared);
        // In its strict mode, zune-jpeg requires four components here.
        let is_adobe_rgb = is_rgb && declared.adobe == Some(0);
        let has_two_colour_spaces = !is_rgb && (self.is_named_rgb() || declared.is_jfif && declared.adobe == Some(0));
        declared.is_split || is_luma_coarse || self.components == 3 && (has_two_colour_spaces || is_adobe_rgb)
    }

    fn kind(&self, declared: &Declarations) -> Kind {
        let has_several_passes = declared.scans > 1 || self.is_progressive();
        let is_fractional = |axis: usize| {
            let most = self.factors(axis).max().unwrap_or(1);
            self.factors(axis).any(|factor| factor == 0 || !most.is_multiple_of(factor))
        };
        // jpeg-decoder takes the width of the image for that of such a component.
        let is_misread =
            |axis: usize| self.factors(axis).max() == Some(4) && self.factors(axis).any(|factor| factor == 2);
        if (0..2).any(is_fractional) {
            return Kind::Unsupported("sampling factors that do not divide each other are not supported");
        }
        if self.components == 4 && declared.adobe == Some(1) {
            return Kind::Unsupported("four components with the colour transform of three are not supported");
        }
        if declared.has_late_adobe {
            return Kind::Unsupported("a colour transform between scans is not supported");
        }
        // The decoder's computation of the padded width would overflow.
        if self.components == 1 && self.specifications.iter().any(|part| part[1] != 0x11) && self.width > u16::MAX - 8 {
            return Kind::Unsupported("a sampling factor is not supported at this width");
        }
        if !self.is_unusual(declared) {
            return Kind::Usual;
        }
        if self.process > 2 || self.precision != 8 {
            return Kind::Unsupported("its coding process is not supported");
        }
        if self.components != 3 {
            return Kind::Unsupported(
                "CMYK in several scans or with unusual sampling is not supported; save it as RGB",
            );
        }
        if has_several_passes && (0..2).any(is_misread) {
            return Kind::Unsupported("several scans with these sampling factors are not supported");
        }
        Kind::Unusual { is_rgb: self.is_rgb(declared), is_progressive: self.is_progressive() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Header, Kind};
    use crate::{Limits, decode};

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
    fn header_has_the_size_and_the_first_exif_block() {
        let bytes = jpeg(&[b"unknown", &[0xff, 0xff], &exif(b"one"), &exif(b"two"), &FRAME, &SCAN, &END]);
        let header = Header {
            width: 0x304,
            height: 0x102,
            components: 3,
            kind: Kind::Usual,
            exif: Some(b"one"),
            scans: 1,
            is_complete: true,
        };
        assert_eq!(Header::read(&bytes), Some(header));
    }

    #[test]
    fn end_marker_of_a_thumbnail_does_not_complete_the_image() {
        let cut = jpeg(&[&exif(&END), &FRAME, &SCAN]);
        assert!(!Header::read(&cut).unwrap().is_complete);
        assert!(Header::read(&[&cut[..], &END].concat()).unwrap().is_complete);
    }

    #[test]
    fn scans_before_the_end_marker_are_counted() {
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
    fn huffman_tables_are_not_frames_and_a_scan_needs_a_frame() {
        let tables = [0xff, 0xc4, 0x00, 0x08, 8, 9, 9, 9, 9, 1];
        assert_eq!(Header::read(&jpeg(&[&tables, &FRAME, &SCAN])).unwrap().width, 0x304);
        assert_eq!(Header::read(&jpeg(&[&tables, &SCAN, &END])), None);
    }

    #[test]
    fn truncated_header_returns_none() {
        let bytes = jpeg(&[&exif(b"one"), &FRAME, &SCAN]);
        for length in 0..bytes.len() - 2 {
            assert_eq!(Header::read(&bytes[..length]), None, "{length}");
        }
    }

    fn kinds(name: &str) -> Vec<u8> {
        std::fs::read(format!("../../tests/data/kinds/{name}")).unwrap()
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, String> {
        decode(bytes, &Limits::default()).map(|image| image.pixels).map_err(|error| error.to_string())
    }

    /// Position of the content of the first segment of a marker.
    fn segment(bytes: &[u8], marker: u8) -> usize {
        bytes.windows(2).position(|pair| pair == [0xff, marker]).unwrap() + 4
    }

    #[test]
    fn colour_space_is_that_of_jfif() {
        let two_spaces = kinds("jfif_and_adobe_rgb.jpg");
        let expected = decoded(&two_spaces).unwrap();
        // Another segment of Adobe's marker does not change it.
        let (before, behind) = two_spaces.split_at(segment(&two_spaces, 0xdb) - 4);
        assert_eq!(decoded(&[before, &[0xff, 0xee, 0, 4, 0, 0], behind].concat()).unwrap(), expected);
        // Neither do the identifiers of the components.
        let mut named = two_spaces;
        let (frame, scan) = (segment(&named, 0xc0), segment(&named, 0xda));
        for (index, name) in b"RGB".iter().enumerate() {
            named[frame + 6 + 3 * index] = *name;
            named[scan + 1 + 2 * index] = *name;
        }
        assert_eq!(decoded(&named).unwrap(), expected);
    }

    #[test]
    #[cfg(not(feature = "turbojpeg"))]
    fn unusual_files_that_no_decoder_reads_are_refused() {
        for (name, marker, at, value, reason) in [
            ("coarse_luma.jpg", 0xc0, 0, 12, "coding process"),
            ("coarse_luma.jpg", 0xc0, 7, 0x31, "do not divide"),
            ("coarse_luma_progressive.jpg", 0xc2, 10, 0x41, "several scans"),
        ] {
            let mut bytes = kinds(name);
            let at = segment(&bytes, marker) + at;
            bytes[at] = value;
            let error = decoded(&bytes).map(|pixels| pixels.len()).unwrap_err();
            assert!(error.contains(reason), "{name}, {value:#x}: {error}");
        }
        let mut lossless = kinds("jfif_and_adobe_rgb.jpg");
        let at = segment(&lossless, 0xc0) - 3;
        lossless[at] = 0xc3;
        assert!(decoded(&lossless).is_err_and(|error| error.contains("coding process")));
    }

    /// The decoder of unusual files reads all scans, each of which takes time for every pixel.
    #[test]
    fn every_scan_of_an_unusual_file_counts() {
        let mut bytes = kinds("coarse_luma.jpg");
        let start = segment(&bytes, 0xda) - 4;
        let scan = bytes[start..start + 14].to_vec();
        bytes.truncate(bytes.len() - 2);
        bytes.extend((0..200).flat_map(|_| scan.clone()).chain(END));
        assert_eq!(Header::read(&bytes).unwrap().scans, 201);
        assert!(decoded(&bytes).is_err_and(|error| error.contains("201 scans")));
    }
}
