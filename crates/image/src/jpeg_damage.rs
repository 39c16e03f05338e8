//! Damage in the entropy-coded data of a JPEG (ITU-T T.81, B.1.1.5) that the decoders do not report.
//!
//! If the data of a scan or of a restart interval ends too early, the decoders continue with zero bits and return invented
//! pixels. [`with_guards`] therefore copies the file and adds one-bits behind the data of each interval. No Huffman code consists of
//! one-bits only (T.81, C.2), so a decoder that needs more data than the file has reports an invalid code. The pixels of a complete
//! file stay the same, because decoders ignore what stands between the last code and the next marker.
//!
//! libjpeg only warns of such damage. Like libjpeg, Kiln does not refuse additional bytes at the end of a scan: some cameras write
//! them, and they cost no pixel.

use super::jpeg_header::Frame;
use super::jpeg_segments::{START_OF_SCAN, next_marker, segment};

/// Bytes of ones, each with the zero that distinguishes it from a marker.
///
/// A started symbol takes at most 26 bits, and the invalid code 16. jpeg-decoder finds a restart marker behind up to six bytes.
const GUARD: [u8; 12] = [0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0];

const ENDS_EARLY: &str = "the file is truncated or damaged: the data of a scan ends too early";
const NO_RESTART: &str = "the file is truncated or damaged: a restart marker is missing";
const INVALID_CODE: &str = "the file is damaged: it has an invalid Huffman code";

/// Returns an upper bound of the length of the copy: a guard can stand before each marker.
pub(super) fn max_copy_length(bytes: &[u8]) -> usize {
    bytes.len() + GUARD.len() * (memchr::memchr_iter(0xff, bytes).count() + 1)
}

/// Returns a copy of the file up to the end marker, in which decoders recognise missing data. Unknown bytes between segments are
/// left out. The error is the damage.
pub(super) fn with_guards(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut copy = bytes.get(..2).unwrap_or_default().to_vec();
    copy.reserve(max_copy_length(bytes));
    let (mut frame, mut tables, mut interval, mut scans) = (None, DcTables::default(), 0, 0);
    let mut position = 2;
    while let Some(marker) = next_marker(bytes, position) {
        position = marker.end;
        if marker.is_end() {
            copy.extend([0xff, marker.code]);
            return Ok(copy);
        }
        // RSTn, SOI and TEM have no content.
        if marker.is_alone() {
            continue;
        }
        let Some(content) = segment(bytes, marker.end) else { break };
        position += 2 + content.len();
        copy.extend([0xff, marker.code]);
        copy.extend_from_slice(&bytes[marker.end..position]);
        match marker.code {
            0xc4 => tables.read(content),
            0xdd => interval = content.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes)).into(),
            START_OF_SCAN => {
                scans += 1;
                let scan = frame.as_ref().and_then(|frame| Scan::new(frame, content, interval));
                position = match scan {
                    Some(scan) => scan.copy_data(bytes, position, &mut copy, scans == 1, &tables)?,
                    // The decoder reports what is wrong with the scan's header.
                    None => position,
                };
            }
            code => frame = frame.or_else(|| Frame::read(code, content)),
        }
    }
    Err("the file is truncated or damaged: a segment is incomplete")
}

/// A scan's header, with the sizes that follow from the frame.
struct Scan<'a> {
    /// For each component its identifier and the numbers of its tables.
    components: &'a [[u8; 2]],
    is_progressive: bool,
    /// First coefficient; 0 is DC.
    spectral_start: u8,
    /// Whether the scan adds a bit to coefficients that an earlier scan has.
    is_refinement: bool,
    /// Number of minimum coded units (MCU).
    mcus: usize,
    /// For each block of an MCU, the index of its component in this scan.
    blocks: Vec<usize>,
    /// MCUs between restart markers.
    interval: usize,
}

impl<'a> Scan<'a> {
    /// `None` if the header is incomplete, or if no decoder supports the process.
    fn new(frame: &Frame<'_>, content: &'a [u8], interval: usize) -> Option<Self> {
        let (&count, rest) = content.split_first()?;
        // More components are invalid, and decoders refuse them.
        if frame.process > 2 || !(1..=4).contains(&count) {
            return None;
        }
        let (components, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let (components, &[spectral_start, _, approximation, ..]) = (components.as_chunks().0, rest) else {
            return None;
        };
        let factors = |id: u8| {
            let [_, factors, _] = frame.specifications.iter().find(|part| part[0] == id)?;
            Some([usize::from(factors >> 4), usize::from(factors & 15)])
        };
        let sides = [usize::from(frame.width), usize::from(frame.height)];
        let most = [0, 1].map(|axis| usize::from(frame.factors(axis).max().unwrap_or(1)).max(1));
        let mut blocks = Vec::new();
        // An MCU of one component is a block. Otherwise it has as many blocks of a component as its sampling factors say.
        let mcus = if let &[[id, _]] = components {
            let factors = factors(id)?;
            blocks.push(0);
            [0, 1].map(|axis| (sides[axis] * factors[axis]).div_ceil(most[axis]).div_ceil(8))
        } else {
            for (index, [id, _]) in components.iter().enumerate() {
                let [horizontal, vertical] = factors(*id)?;
                // An MCU of several components has at most ten blocks (T.81, B.2.3).
                if blocks.len() + horizontal * vertical > 10 {
                    return None;
                }
                blocks.extend(std::iter::repeat_n(index, horizontal * vertical));
            }
            [0, 1].map(|axis| sides[axis].div_ceil(8 * most[axis]))
        };
        Some(Self {
            components,
            is_progressive: frame.is_progressive(),
            spectral_start,
            is_refinement: approximation >> 4 != 0,
            mcus: mcus[0] * mcus[1],
            blocks,
            interval,
        })
    }

    /// Copies the scan's data, from `position` to the next marker that is not a restart marker, and returns the end.
    fn copy_data(
        &self,
        bytes: &[u8],
        mut position: usize,
        copy: &mut Vec<u8>,
        is_first: bool,
        tables: &DcTables<'_>,
    ) -> Result<usize, &'static str> {
        let length = if self.interval == 0 { self.mcus } else { self.interval };
        let restarts = self.mcus.div_ceil(length.max(1)).saturating_sub(1);
        let mut index = 0;
        loop {
            let marker = next_marker(bytes, position).ok_or(ENDS_EARLY)?;
            let data = &bytes[position..marker.start];
            copy.extend_from_slice(data);
            if index <= restarts {
                self.check(data, length.min(self.mcus - index * length), is_first, tables)?;
                // Behind the first progressive scan, zune-jpeg requires the next marker at once.
                if !(is_first && self.is_progressive) {
                    copy.extend(GUARD);
                }
            }
            if index < restarts && !marker.is_restart(index) {
                return Err(NO_RESTART);
            }
            if !marker.is_any_restart() {
                return Ok(marker.start);
            }
            copy.extend([0xff, marker.code]);
            position = marker.end;
            index += 1;
        }
    }

    /// Checks the scans of DC coefficients of progressive files, where guards do not show missing data. These scans are short.
    fn check(&self, data: &[u8], mcus: usize, is_first: bool, tables: &DcTables<'_>) -> Result<(), &'static str> {
        if !self.is_progressive || self.spectral_start != 0 {
            return Ok(());
        }
        if self.is_refinement {
            // A bit for each block.
            let stuffed = data.iter().filter(|byte| **byte == 0xff).count();
            let bits = 8 * (data.len() - stuffed);
            return if bits < mcus * self.blocks.len() { Err(ENDS_EARLY) } else { Ok(()) };
        }
        if !is_first {
            return Ok(());
        }
        let mut bits = Bits { bytes: data.iter(), current: 0, count: 0 };
        for _ in 0..mcus {
            for component in &self.blocks {
                // The decoder reports a missing table.
                let Some(table) = tables.0[usize::from(self.components[*component][1] >> 4 & 3)] else { return Ok(()) };
                table.skip_difference(&mut bits)?;
            }
        }
        Ok(())
    }
}

/// The Huffman tables of DC coefficients.
#[derive(Default)]
struct DcTables<'a>([Option<DcTable<'a>>; 4]);

/// The number of codes of each length, and the values in the order of their codes.
#[derive(Clone, Copy)]
struct DcTable<'a> {
    counts: &'a [u8; 16],
    values: &'a [u8],
}

impl<'a> DcTables<'a> {
    /// Reads a segment of tables (T.81, B.2.4.2).
    fn read(&mut self, mut content: &'a [u8]) {
        while let Some((&number, rest)) = content.split_first() {
            let Some((counts, rest)) = rest.split_first_chunk::<16>() else { return };
            let length = counts.iter().map(|count| usize::from(*count)).sum();
            let Some((values, rest)) = rest.split_at_checked(length) else { return };
            // The upper half is the class: 0 is DC.
            if let Some(table) = self.0.get_mut(usize::from(number)) {
                *table = Some(DcTable { counts, values });
            }
            content = rest;
        }
    }
}

impl DcTable<'_> {
    /// Reads a code (T.81, F.2.2.3) and the bits of the difference, whose number the code stands for.
    fn skip_difference(self, bits: &mut Bits<'_>) -> Result<(), &'static str> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in self.counts {
            code = code << 1 | bits.next().ok_or(ENDS_EARLY)?;
            let count = usize::from(*count);
            if code < first + count {
                let length = *self.values.get(index + code - first).ok_or(INVALID_CODE)?;
                return (0..length).try_for_each(|_| bits.next().map(drop)).ok_or(ENDS_EARLY);
            }
            index += count;
            first = (first + count) << 1;
        }
        Err(INVALID_CODE)
    }
}

/// Iterates over the bits of entropy-coded data, the upper bit of a byte first.
struct Bits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    current: u8,
    count: u8,
}

impl Iterator for Bits<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.count == 0 {
            self.current = *self.bytes.next()?;
            self.count = 8;
            if self.current == 0xff {
                // The zero that distinguishes the byte from a marker.
                self.bytes.next();
            }
        }
        self.count -= 1;
        Some(usize::from(self.current >> self.count & 1))
    }
}
