//! The header of a JPEG file (ITU-T T.81, B.1.1), found in one walk over its markers: size, EXIF block, scans, completeness, and what
//! the decoder does not support.

use super::jpeg_segments::{Marker, RESTART_INTERVAL, START_OF_SCAN, next_marker, segment};

pub(super) const NO_RESTART: &str = "the file is truncated or damaged: a restart marker is missing";

const QUANTIZATION_TABLES: u8 = 0xdb;
/// Segments that the decoder copies: EXIF and XMP, colour profile, IPTC, comment.
const METADATA: [u8; 4] = [0xe1, 0xe2, 0xed, 0xfe];

/// A JPEG's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) frame: Frame<'a>,
    /// The TIFF structure of the first EXIF block that has one.
    pub(super) exif: Option<&'a [u8]>,
    pub(super) scans: usize,
    /// Whether a scan of a sequential file has several of the components, but not all.
    pub(super) has_partial_scans: bool,
    /// The length of the file without an incomplete segment at its end, in bytes.
    pub(super) length: usize,
    /// The length of the segments that the decoder copies, in bytes.
    pub(super) metadata: usize,
    /// What is missing, as far as the markers show it. Decoders fill missing parts with grey, and report nothing.
    pub(super) damage: Option<&'static str>,
    /// Why the file is not supported, not even in part.
    pub(super) unsupported: Option<&'static str>,
}

/// The frame header: the process and the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The lower half of the marker: 0 to 2 are baseline, extended and progressive.
    process: u8,
    precision: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    /// For each component an identifier, the horizontal and vertical sampling factor in one byte, and the number of a table.
    pub(super) specifications: &'a [[u8; 3]],
}

impl<'a> Header<'a> {
    /// Reads the markers up to the end of the image. `None` if there is no scan, or no frame header before it.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut walk = Walk::default();
        let (mut position, mut length, mut is_complete) = (2, bytes.len(), false);
        while let Some(marker) = next_marker(bytes, position) {
            position = marker.end;
            if marker.is_end() {
                is_complete = true;
                break;
            }
            if marker.is_alone() {
                walk.read_alone(marker);
                continue;
            }
            let Some(content) = segment(bytes, marker.end) else {
                length = marker.start;
                break;
            };
            position += 2 + content.len();
            walk.read_segment(marker.code, content);
        }
        let frame = walk.frame.filter(|_| walk.scans > 0)?;
        Some(Self {
            frame,
            exif: walk.exif,
            scans: walk.scans,
            has_partial_scans: walk.has_partial_scans,
            length,
            metadata: walk.metadata,
            damage: walk.damage(&frame, is_complete),
            unsupported: frame.unsupported().or_else(|| walk.unsupported(&frame)),
        })
    }

    /// Returns width and height in pixels, before the EXIF orientation.
    pub(super) fn size(&self) -> (u32, u32) {
        (self.frame.width.into(), self.frame.height.into())
    }
}

/// What the markers so far declare.
#[derive(Default)]
struct Walk<'a> {
    frame: Option<Frame<'a>>,
    exif: Option<&'a [u8]>,
    metadata: usize,
    tables: [Option<&'a [u8]>; 4],
    /// Whether a table that a scan may have used is defined again.
    has_other_tables: bool,
    scans: usize,
    has_partial_scans: bool,
    scanned: ScanCounts,
    /// Restart markers in the current scan.
    restarts: usize,
    has_misplaced_restart: bool,
    /// Whether the length of a segment contradicts its content. libjpeg refuses such a file. The decoder ignores some of these lengths,
    /// and would find other segments than this walk.
    has_wrong_length: bool,
}

/// The number of scans of a sequential file for each identifier of a component, at most 255. There may be millions of scans.
struct ScanCounts([u8; 256]);

impl Default for ScanCounts {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl ScanCounts {
    fn add(&mut self, id: u8) {
        let count = &mut self.0[usize::from(id)];
        *count = count.saturating_add(1);
    }

    fn of(&self, id: u8) -> u8 {
        self.0[usize::from(id)]
    }
}

impl<'a> Walk<'a> {
    fn read_alone(&mut self, marker: Marker) {
        if marker.is_any_restart() {
            self.has_misplaced_restart |= !marker.is_restart(self.restarts);
            self.restarts += 1;
        }
    }

    fn read_segment(&mut self, marker: u8, content: &'a [u8]) {
        if METADATA.contains(&marker) {
            self.metadata += content.len();
        }
        match marker {
            START_OF_SCAN => self.read_scan(content),
            QUANTIZATION_TABLES => self.read_tables(content),
            RESTART_INTERVAL => self.has_wrong_length |= content.len() != 2,
            _ if is_frame(marker) && self.scans == 0 => {
                let frame = Frame::read(marker, content);
                self.has_wrong_length |= frame.is_none();
                self.frame = self.frame.or(frame);
            }
            0xe1 if self.scans == 0 => {
                let exif = content.strip_prefix(b"Exif\0\0").filter(|content| !content.is_empty());
                self.exif = self.exif.or(exif);
            }
            _ => (),
        }
    }

    fn read_scan(&mut self, content: &[u8]) {
        self.scans += 1;
        self.restarts = 0;
        // The header of a scan (T.81, B.2.3): the number of components, two bytes for each, and three more.
        self.has_wrong_length |= content.first().is_none_or(|count| content.len() != 4 + 2 * usize::from(*count));
        let Some(frame) = self.frame.filter(|frame| !frame.is_progressive()) else { return };
        self.has_partial_scans |= frame.is_partial(content);
        if let Some((&count, parts)) = content.split_first() {
            parts.as_chunks::<2>().0.iter().take(count.into()).for_each(|[id, _]| self.scanned.add(*id));
        }
    }

    /// Reads a segment of quantization tables (T.81, B.2.4.1).
    fn read_tables(&mut self, mut content: &'a [u8]) {
        while let Some((&head, rest)) = content.split_first() {
            let Some((table, rest)) = rest.split_at_checked(if head >> 4 == 0 { 64 } else { 128 }) else {
                self.has_wrong_length = true;
                return;
            };
            if let Some(known) = self.tables.get_mut(usize::from(head & 15)) {
                self.has_other_tables |= self.scans > 0 && known.is_some_and(|known| known != table);
                *known = Some(table);
            }
            content = rest;
        }
    }

    fn damage(&self, frame: &Frame<'_>, is_complete: bool) -> Option<&'static str> {
        let lacks_scan = |part: &[u8; 3]| self.scanned.of(part[0]) == 0;
        if !is_complete {
            Some("the file is truncated or damaged: its end marker is missing")
        } else if self.has_misplaced_restart {
            Some(NO_RESTART)
        } else if !frame.is_progressive() && frame.specifications.iter().any(lacks_scan) {
            Some("the file is truncated or damaged: a component has no scan")
        } else {
            None
        }
    }

    /// Returns which lengths or which order of segments are not supported.
    fn unsupported(&self, frame: &Frame<'_>) -> Option<&'static str> {
        if self.has_wrong_length {
            return Some("the file is damaged: a segment has a wrong length");
        }
        if frame.specifications.iter().any(|part| self.scanned.of(part[0]) > 1) {
            return Some("a component in two scans is not supported");
        }
        self.has_other_tables
            .then_some("tables that change between scans are not supported; save it again as baseline JPEG")
    }
}

/// Whether the marker is that of a frame header. DHT, JPG and DAC are in the same range.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

impl<'a> Frame<'a> {
    /// Reads a segment. `None` if it is not a frame header, or if it has more or fewer components than it declares.
    pub(super) fn read(marker: u8, content: &'a [u8]) -> Option<Self> {
        let &[precision, h1, h0, w1, w0, components, ref rest @ ..] = content else { return None };
        let (specifications, others) = rest.as_chunks::<3>();
        let is_complete = specifications.len() == usize::from(components) && others.is_empty();
        (is_frame(marker) && is_complete).then_some(Self {
            process: marker & 15,
            precision,
            width: u16::from_be_bytes([w1, w0]),
            height: u16::from_be_bytes([h1, h0]),
            specifications,
        })
    }

    pub(super) fn is_progressive(&self) -> bool {
        // Of four processes, the third is progressive.
        self.process & 3 == 2
    }

    /// The sampling factors of the components along an axis.
    fn factors(&self, axis: usize) -> impl Iterator<Item = u8> {
        self.specifications.iter().map(move |part| if axis == 0 { part[1] >> 4 } else { part[1] & 15 })
    }

    /// Returns the largest sampling factors, across and down; at least 1.
    pub(super) fn largest_factors(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.factors(axis).max().unwrap_or(1).max(1).into())
    }

    /// Returns the number of minimum coded units of a scan with all components, across and down.
    pub(super) fn mcus(&self) -> [usize; 2] {
        let [across, down] = self.largest_factors();
        [usize::from(self.width).div_ceil(8 * across), usize::from(self.height).div_ceil(8 * down)]
    }

    /// Returns whether a scan has several components, but not all.
    pub(super) fn is_partial(&self, scan_header: &[u8]) -> bool {
        scan_header.first().is_some_and(|count| (2..self.specifications.len()).contains(&usize::from(*count)))
    }

    /// Returns whether the first component has fewer samples than another one.
    pub(super) fn is_first_coarse(&self) -> bool {
        (0..2).any(|axis| self.factors(axis).next() < self.factors(axis).max())
    }

    /// Returns the memory of a decode in bytes, as measured: a plane for each component, planes of full size for those that are
    /// scaled up apart from the others, and the pixels; before that, in progressive files, all coefficients of 16 bits. RGB with
    /// fewer samples of a component takes two planes more.
    pub(super) fn decode_memory(&self) -> u64 {
        let [across, down] = self.largest_factors();
        let [columns, rows] = self.mcus();
        let block = 64 * columns as u64 * rows as u64;
        let full = block * (across * down) as u64;
        let areas = || self.specifications.iter().map(|part| u64::from(part[1] >> 4) * u64::from(part[1] & 15));
        let samples: u64 = block * areas().sum::<u64>();
        let coarse = areas().filter(|area| *area < (across * down) as u64).count() as u64;
        let is_usual = self.specifications.get(1).map(|part| part[1]) == self.specifications.get(2).map(|part| part[1]);
        let scaled = match self.specifications.len() {
            3 if self.is_first_coarse() => coarse * full,
            3 if is_usual => 0,
            4 if coarse == 0 => 0,
            3 | 4 => 2 * full,
            _ => 0,
        };
        let pixels = samples + scaled + 3 * u64::from(self.width) * u64::from(self.height);
        let coefficients = 3 * samples + samples / 64 + block * areas().max().unwrap_or(0) / 16;
        if self.is_progressive() { pixels.max(coefficients) } else { pixels }
    }

    /// Returns why such a frame is not supported.
    fn unsupported(&self) -> Option<&'static str> {
        if matches!(self.process, 9 | 10) {
            return Some("arithmetic coding is not supported; save it again as baseline JPEG");
        }
        // Of the others, 3 is lossless, and 5 to 7 are hierarchical.
        if self.precision != 8 || self.process > 2 {
            return Some(
                "its coding process is not supported; save it again as baseline or progressive JPEG of 8 bits",
            );
        }
        let largest = self.largest_factors();
        let is_fractional =
            |axis: usize| self.factors(axis).any(|factor| factor == 0 || !largest[axis].is_multiple_of(factor.into()));
        if (0..2).any(is_fractional) {
            return Some("sampling factors that do not divide each other are not supported");
        }
        if self.specifications.len() == 4 && !self.has_supported_inks(largest) {
            return Some("these sampling factors of four components are not supported; save it again as RGB");
        }
        None
    }

    /// Returns whether the decoder scales four components up as libjpeg does. It expects that the first and the last have all samples,
    /// and the others those of each other. It differs if these have half the rows, and in the last column if they have half the
    /// columns and the width is even and no multiple of an MCU.
    fn has_supported_inks(&self, [across, down]: [usize; 2]) -> bool {
        let factors =
            |index: usize| self.specifications.get(index).map(|part| [part[1] >> 4, part[1] & 15].map(usize::from));
        let (Some(first), Some(second), third, last) = (factors(0), factors(1), factors(2), factors(3)) else {
            return false;
        };
        if first != [across, down] || last != Some(first) || third != Some(second) {
            return false;
        }
        let width = usize::from(self.width);
        match [across / second[0], down / second[1]] {
            [1, 2] => false,
            [2, 1 | 2] => !width.is_multiple_of(2) || width.is_multiple_of(8 * across),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Frame, Header};
    use crate::{Limits, TruncatedImages, decode};

    const PARTS: [[u8; 3]; 3] = [[1, 0x11, 0], [2, 0x11, 0], [3, 0x11, 0]];
    const FRAME: [u8; 19] = [0xff, 0xc0, 0x00, 17, 8, 1, 2, 3, 4, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
    /// A scan of all components, with two bytes of data.
    const SCAN: [u8; 16] = [0xff, 0xda, 0x00, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0, 0x12, 0x34];
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
            frame: Frame { process: 0, precision: 8, width: 0x304, height: 0x102, specifications: &PARTS },
            exif: Some(b"one"),
            scans: 1,
            has_partial_scans: false,
            length: bytes.len(),
            metadata: 18,
            damage: None,
            unsupported: None,
        };
        assert_eq!(Header::read(&bytes), Some(header));
    }

    #[test]
    fn end_marker_of_a_thumbnail_does_not_complete_the_image() {
        let cut = jpeg(&[&exif(&END), &FRAME, &SCAN]);
        assert_eq!(Header::read(&cut).unwrap().damage.map(|damage| damage.contains("end marker")), Some(true));
        assert_eq!(Header::read(&[&cut[..], &END].concat()).unwrap().damage, None);
    }

    #[test]
    fn scans_before_the_end_marker_are_counted() {
        let progressive = [&[0xff, 0xc2][..], &FRAME[2..]].concat();
        let coded = [&SCAN[..], &[1, 2, 0xff, 0x00, 0xda, 0xff, 0xd0, 3]].concat();
        let hidden = [0xff, 0xfe, 0x00, 0x04, 0xff, 0xd9];
        let scans = |parts: &[&[u8]]| Header::read(&jpeg(parts)).unwrap().scans;
        assert_eq!(scans(&[&progressive, &coded, &coded, &hidden, &coded, &END, &coded]), 3);
        let of_one = [0xff, 0xda, 0x00, 0x08, 1, 1, 0, 0, 63, 0];
        assert_eq!(scans(&[&FRAME, &of_one, &of_one, &of_one, &END]), 3);
    }

    #[test]
    fn huffman_tables_are_not_frames_and_a_scan_needs_a_frame() {
        let tables = [0xff, 0xc4, 0x00, 0x08, 8, 9, 9, 9, 9, 1];
        assert_eq!(Header::read(&jpeg(&[&tables, &FRAME, &SCAN])).unwrap().size().0, 0x304);
        assert_eq!(Header::read(&jpeg(&[&tables, &SCAN, &END])), None);
    }

    #[test]
    fn truncated_header_returns_none() {
        let bytes = jpeg(&[&exif(b"one"), &FRAME, &SCAN]);
        for length in 0..bytes.len() - 2 {
            assert_eq!(Header::read(&bytes[..length]), None, "{length}");
        }
    }

    /// Each scan has 255 components, and the frame header as many as a segment can hold.
    #[test]
    fn many_components_and_scans_take_little_time() {
        let segment = |marker: u8, content: &[u8]| {
            [&[0xff, marker], &(content.len() as u16 + 2).to_be_bytes()[..], content].concat()
        };
        let frame = segment(0xc0, &[&[8, 0, 9, 0, 9, 3][..], &[7, 0x11, 0].repeat(21_842)].concat());
        let scan = |id: u8| segment(0xda, &[&[255][..], &[id, 0].repeat(255), &[0, 63, 0]].concat());
        let one = segment(0xda, &[1, 7, 0, 0, 63, 0]);
        let bytes = jpeg(&[&frame, &scan(9).repeat(16_000), &one, &END]);
        let start = Instant::now();
        assert!(decoded(&bytes).is_err());
        // A frame that is not refused.
        let header = Header::read(&jpeg(&[&FRAME, &scan(1), &scan(1), &one, &END])).map(|header| header.unsupported);
        assert_eq!(header, Some(Some("a component in two scans is not supported")));
        assert!(start.elapsed().as_secs_f64() < 1.0, "{:?}", start.elapsed());
    }

    #[test]
    fn segments_with_a_wrong_length_are_refused() {
        let whole = kinds("restart.jpg");
        let scan = segment(&whole, 0xda) - 4;
        let (head, rest) = whole.split_at(scan);
        for inserted in [
            &[0xff, 0xdd, 0, 6, 0, 0, 0, 0][..],
            &[0xff, 0xdb, 0, 4, 0, 1],
            &[0xff, 0xc0, 0, 8, 8, 0, 1, 0, 1, 3],
            &[0xff, 0xc0, 0, 12, 8, 0, 1, 0, 1, 1, 1, 0x11, 0, 0],
            &[0xff, 0xda, 0, 9, 1, 1, 0, 0, 63, 0, 0],
            &[0xff, 0xda, 0, 2],
        ] {
            let bytes = [head, inserted, rest].concat();
            for truncated_images in [TruncatedImages::Refuse, TruncatedImages::Accept] {
                let limits = Limits { truncated_images, ..Limits::default() };
                let error = decode(&bytes, &limits).map(|image| image.pixels.len()).unwrap_err().to_string();
                assert!(error.contains("a segment has a wrong length"), "{inserted:?}: {error}");
            }
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
    fn unsupported_files_are_refused_with_their_reason() {
        for (name, at, value, reason) in [
            ("inks.jpg", 16, 0x21, "sampling factors of four components"),
            ("chroma_422.jpg", 10, 0x31, "do not divide"),
            ("jfif_and_adobe_rgb.jpg", 0, 12, "coding process"),
            ("jfif_and_adobe_rgb.jpg", -3, 0xc3, "coding process"),
            ("scans_422_restart.jpg", -3, 0xc9, "arithmetic coding"),
        ] {
            let mut bytes = kinds(name);
            let at = segment(&bytes, 0xc0).checked_add_signed(at).unwrap();
            bytes[at] = value;
            let error = decoded(&bytes).map(|pixels| pixels.len()).unwrap_err();
            assert!(error.contains(reason), "{name}, {value:#x}: {error}");
        }
    }

    /// libjpeg uses the table that was valid at a component's first scan, the decoder the last one.
    #[test]
    fn quantization_tables_that_change_between_scans_are_refused() {
        let bytes = kinds("scans_420.jpg");
        let first_scan = segment(&bytes, 0xda) - 4;
        let second_scan = first_scan + 4 + segment(&bytes[first_scan + 4..], 0xda) - 4;
        let table = segment(&bytes, 0xdb) - 4;
        let length = 2 + usize::from(u16::from_be_bytes([bytes[table + 2], bytes[table + 3]]));
        let mut other = bytes[table..table + length].to_vec();
        let with = |table: &[u8]| [&bytes[..second_scan], table, &bytes[second_scan..]].concat();
        assert!(decoded(&with(&other)).is_ok(), "the same table");
        other[9] += 1;
        assert!(decoded(&with(&other)).is_err_and(|error| error.contains("tables that change")));
    }

    #[test]
    fn every_component_has_one_scan() {
        let bytes = kinds("scans_420.jpg");
        let first_scan = segment(&bytes, 0xda) - 4;
        let second_scan = first_scan + 4 + segment(&bytes[first_scan + 4..], 0xda) - 4;
        let without = [&bytes[..first_scan], &bytes[second_scan..]].concat();
        assert!(decoded(&without).is_err_and(|error| error.contains("a component has no scan")));
        let twice = [&bytes[..second_scan], &bytes[first_scan..]].concat();
        assert!(decoded(&twice).is_err_and(|error| error.contains("a component in two scans")));
    }

    /// The last column of such files differs from libjpeg's, if their width is even and no multiple of 16.
    #[test]
    fn four_components_are_supported_where_the_decoder_agrees_with_libjpeg() {
        let frame = |width: u16, factors: [u8; 4]| {
            let parts: Vec<[u8; 3]> = factors.iter().zip(1..).map(|(factors, id)| [id, *factors, 0]).collect();
            let frame = Frame { process: 0, precision: 8, width, height: 9, specifications: &parts };
            frame.unsupported().is_none()
        };
        assert!(frame(10, [0x11; 4]) && frame(10, [0x22; 4]));
        assert!(frame(11, [0x22, 0x11, 0x11, 0x22]) && frame(32, [0x22, 0x11, 0x11, 0x22]));
        assert!(!frame(10, [0x22, 0x11, 0x11, 0x22]) && !frame(10, [0x21, 0x11, 0x11, 0x21]));
        assert!(!frame(11, [0x12, 0x11, 0x11, 0x12]) && !frame(11, [0x22, 0x21, 0x21, 0x22]));
        assert!(!frame(11, [0x22, 0x11, 0x11, 0x11]) && !frame(11, [0x22, 0x11, 0x21, 0x22]));
    }

    /// Each scan takes time for every pixel.
    #[test]
    fn every_scan_counts() {
        let mut bytes = kinds("scans_420.jpg");
        let start = segment(&bytes, 0xda) - 4;
        let scan = bytes[start..start + 10].to_vec();
        bytes.truncate(bytes.len() - 2);
        bytes.extend((0..200).flat_map(|_| scan.clone()).chain(END));
        assert_eq!(Header::read(&bytes).unwrap().scans, 203);
        assert!(decoded(&bytes).is_err_and(|error| error.contains("203 scans")));
    }
}
