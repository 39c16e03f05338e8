//! Splits scans that have several of the components, but not all (ITU-T T.81, A.2.3).
//!
//! The decoder reads sequential scans of all components or of one. Few programs write others, for instance luma alone and then both
//! chroma components. [`with_split_scans`] writes such a scan again as a scan for each component. All coefficients stay the same: the
//! codes of AC coefficients are copied bit by bit. A DC coefficient is coded as the difference from the block before it, which is
//! another one in the new scan, so these are coded anew.

use super::jpeg_header::{Frame, NO_RESTART};
use super::jpeg_segments::{RESTART_INTERVAL, START_OF_SCAN, next_marker, segment};

const ENDS_EARLY: &str = "the file is truncated or damaged: the data of a scan ends too early";
const INVALID_CODE: &str = "the file is damaged: it has an invalid Huffman code";
const INVALID_SCAN: &str = "the file is damaged: the header of a scan is invalid";

const HUFFMAN_TABLES: u8 = 0xc4;
const END: u8 = 0xd9;

/// Bits of a code in the DC table of the new scans: code `n` stands for differences of `n` bits.
const CATEGORY_BITS: u32 = 5;
/// The largest number of bits of a difference. Of 8-bit samples it is 12.
const MAX_CATEGORY: u32 = 15;

/// Returns a copy of a sequential file that is coded with Huffman codes, in which each scan has all components or one. With `is_part`,
/// a damaged scan is copied up to the damage.
///
/// # Errors
///
/// Returns the damage if the header of such a scan is invalid, if there is no end marker, or, without `is_part`, if the data of such a
/// scan is damaged or ends too early.
pub(super) fn with_split_scans(bytes: &[u8], is_part: bool) -> Result<Vec<u8>, &'static str> {
    let mut copy = Vec::with_capacity(bytes.len());
    copy.extend([0xff, 0xd8]);
    let (mut frame, mut tables, mut interval) = (None::<Frame<'_>>, Tables::default(), 0);
    let mut position = 2;
    while let Some(marker) = next_marker(bytes, position) {
        position = marker.end;
        if marker.is_end() {
            copy.extend([0xff, END]);
            return Ok(copy);
        }
        if marker.is_alone() {
            continue;
        }
        let Some(content) = segment(bytes, marker.end) else { break };
        position += 2 + content.len();
        let header = [&[0xff, marker.code], &bytes[marker.end..position]].concat();
        match (marker.code, &frame) {
            (START_OF_SCAN, Some(frame)) => {
                let end = end_of_data(bytes, position);
                let data = &bytes[position..end];
                if frame.is_partial(content) {
                    let mut scan = Scan::new(frame, content, data.len())?;
                    let decoded = scan.decode(data, &tables, frame.mcus(), interval);
                    if !is_part {
                        decoded?;
                    }
                    scan.write(&mut copy, &tables, interval);
                } else {
                    copy.extend(header);
                    copy.extend_from_slice(data);
                }
                position = end;
                continue;
            }
            (HUFFMAN_TABLES, _) => tables.read(content),
            (RESTART_INTERVAL, _) => interval = content.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes)),
            (code, None) => frame = Frame::read(code, content),
            _ => (),
        }
        copy.extend(header);
    }
    Err("the file is truncated or damaged: a segment is incomplete")
}

/// Returns the position of the marker behind the data of a scan.
fn end_of_data(bytes: &[u8], mut position: usize) -> usize {
    while let Some(marker) = next_marker(bytes, position) {
        if !marker.is_any_restart() {
            return marker.start;
        }
        position = marker.end;
    }
    bytes.len()
}

/// The Huffman tables that are valid at a place in the file, by class (DC, AC) and number.
#[derive(Default)]
struct Tables<'a>([[Option<Table<'a>>; 4]; 2]);

/// A Huffman table as the file has it: the number of codes for each length from 1 to 16, and their values.
#[derive(Clone, Copy)]
struct Table<'a> {
    counts: &'a [u8; 16],
    values: &'a [u8],
}

impl<'a> Tables<'a> {
    /// Reads a segment of tables (T.81, B.2.4.2).
    fn read(&mut self, mut content: &'a [u8]) {
        while let Some((&head, rest)) = content.split_first() {
            let Some((counts, rest)) = rest.split_first_chunk::<16>() else { return };
            let length = counts.iter().map(|count| usize::from(*count)).sum();
            // As in libjpeg, a value has at most one code.
            if length > 256 {
                return;
            }
            let Some((values, rest)) = rest.split_at_checked(length) else { return };
            let slot = self.0.get_mut(usize::from(head >> 4)).and_then(|class| class.get_mut(usize::from(head & 15)));
            if let Some(slot) = slot {
                *slot = Some(Table { counts, values });
            }
            content = rest;
        }
    }

    fn get(&self, class: usize, number: u8) -> Option<Table<'a>> {
        *self.0[class].get(usize::from(number))?
    }
}

impl Table<'_> {
    /// Returns length and value of the code at the beginning of each 16 bits; the length is 0 where no code is (T.81, C.2).
    fn lookup(self) -> Result<Vec<[u8; 2]>, &'static str> {
        let mut lookup = vec![[0, 0]; 1 << 16];
        let (mut code, mut values) = (0_usize, self.values.iter());
        for (length, count) in (1_u8..).zip(self.counts) {
            for value in values.by_ref().take(usize::from(*count)) {
                let free = 16 - length;
                let here = lookup.get_mut(code << free..(code + 1) << free).ok_or(INVALID_CODE)?;
                here.fill([length, *value]);
                code += 1;
            }
            code <<= 1;
        }
        Ok(lookup)
    }

    /// Writes a segment with this table.
    fn write(self, copy: &mut Vec<u8>, class: u8, number: u8) {
        let content = [&[class << 4 | number][..], self.counts, self.values].concat();
        write_segment(copy, HUFFMAN_TABLES, &content);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the segments here have at most 273 bytes")]
fn write_segment(copy: &mut Vec<u8>, marker: u8, content: &[u8]) {
    copy.extend([0xff, marker]);
    copy.extend((content.len() as u16 + 2).to_be_bytes());
    copy.extend_from_slice(content);
}

/// A decoded scan.
struct Scan {
    /// The data without stuffed zeros and restart markers.
    data: Vec<u8>,
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// Numbers of the tables.
    tables: [u8; 2],
    /// Blocks of an MCU, across and down.
    factors: [usize; 2],
    /// Blocks of a scan of this component alone, across and down.
    size: [usize; 2],
    blocks: Vec<Block>,
}

/// A block of coefficients.
#[derive(Clone, Copy, Default)]
struct Block {
    dc: i32,
    /// The codes of the AC coefficients, as positions of bits in the data.
    start: usize,
    end: usize,
}

impl Scan {
    /// Reads the header of a scan with at most `length` bytes of data.
    fn new(frame: &Frame<'_>, header: &[u8], length: usize) -> Result<Self, &'static str> {
        let (&count, rest) = header.split_first().ok_or(INVALID_SCAN)?;
        let (parts, _) = rest.split_at_checked(2 * usize::from(count)).ok_or(INVALID_SCAN)?;
        let most = frame.largest_factors();
        let sides = [usize::from(frame.width), usize::from(frame.height)];
        let mut components = Vec::new();
        for &[id, numbers] in parts.as_chunks().0 {
            let found = frame.specifications.iter().find(|specification| specification[0] == id);
            let &[_, factors, _] = found.ok_or(INVALID_SCAN)?;
            let factors = [usize::from(factors >> 4), usize::from(factors & 15)];
            let size = [0, 1].map(|axis| (sides[axis] * factors[axis]).div_ceil(8 * most[axis]));
            let blocks = vec![Block::default(); size[0] * size[1]];
            components.push(Component { id, tables: [numbers >> 4, numbers & 15], factors, size, blocks });
        }
        // An MCU of several components has at most ten blocks (T.81, B.2.3).
        if components.iter().map(|component| component.factors[0] * component.factors[1]).sum::<usize>() > 10 {
            return Err(INVALID_SCAN);
        }
        Ok(Self { data: Vec::with_capacity(length), components })
    }

    /// Decodes the data as far as it has to be rewritten. After an error, the blocks before the damage are decoded.
    fn decode(
        &mut self,
        coded: &[u8],
        tables: &Tables<'_>,
        mcus: [usize; 2],
        interval: u16,
    ) -> Result<(), &'static str> {
        let lookups: Vec<[Vec<[u8; 2]>; 2]> = self
            .components
            .iter()
            .map(|component| {
                let lookup = |class| tables.get(class, component.tables[class]).ok_or(INVALID_SCAN)?.lookup();
                Ok([lookup(0)?, lookup(1)?])
            })
            .collect::<Result<_, &'static str>>()?;
        let total = mcus[0] * mcus[1];
        let length = if interval == 0 { total } else { usize::from(interval) };
        let mut position = 0;
        for (index, first) in (0..total).step_by(length.max(1)).enumerate() {
            let marker = next_marker(coded, position);
            let start = self.data.len();
            append_unstuffed(&mut self.data, &coded[position..marker.map_or(coded.len(), |marker| marker.start)]);
            let mut bits = BitReader { data: &self.data, position: 8 * start };
            let mut previous = vec![0; self.components.len()];
            for mcu in first..(first + length).min(total) {
                let corner = [mcu % mcus[0], mcu / mcus[0]];
                for ((component, lookup), previous) in self.components.iter_mut().zip(&lookups).zip(&mut previous) {
                    component.decode_mcu(corner, &mut bits, lookup, previous)?;
                }
            }
            if first + length < total {
                let restart = marker.filter(|marker| marker.is_restart(index)).ok_or(NO_RESTART)?;
                position = restart.end;
            }
        }
        Ok(())
    }

    /// Writes a scan for each component. Behind them, tables and restart interval are those of the file again.
    fn write(&self, copy: &mut Vec<u8>, tables: &Tables<'_>, interval: u16) {
        let counts: [u8; 16] = std::array::from_fn(|index| if index + 1 == CATEGORY_BITS as usize { 16 } else { 0 });
        let values: [u8; 16] = std::array::from_fn(|index| u8::try_from(index).unwrap_or_default());
        let categories = Table { counts: &counts, values: &values };
        write_segment(copy, RESTART_INTERVAL, &[0, 0]);
        for component in &self.components {
            let [dc, ac] = component.tables;
            categories.write(copy, 0, dc);
            write_segment(copy, START_OF_SCAN, &[1, component.id, dc << 4 | ac, 0, 63, 0]);
            component.write_data(copy, &self.data);
        }
        for component in &self.components {
            let number = component.tables[0];
            if let Some(table) = tables.get(0, number) {
                table.write(copy, 0, number);
            }
        }
        write_segment(copy, RESTART_INTERVAL, &interval.to_be_bytes());
    }
}

impl Component {
    /// Decodes the blocks of this component in an MCU.
    fn decode_mcu(
        &mut self,
        mcu: [usize; 2],
        bits: &mut BitReader<'_>,
        [dc, ac]: &[Vec<[u8; 2]>; 2],
        previous: &mut i32,
    ) -> Result<(), &'static str> {
        for down in 0..self.factors[1] {
            for across in 0..self.factors[0] {
                let length = bits.code(dc)?.into();
                *previous += bits.signed(length)?;
                // libjpeg stores a coefficient in 16 bits.
                if i16::try_from(*previous).is_err() {
                    return Err(INVALID_CODE);
                }
                let start = bits.position;
                bits.skip_ac(ac)?;
                let [x, y] = [mcu[0] * self.factors[0] + across, mcu[1] * self.factors[1] + down];
                // The other blocks fill up the MCU. A scan of one component does not have them.
                if x < self.size[0] && y < self.size[1] {
                    self.blocks[y * self.size[0] + x] = Block { dc: *previous, start, end: bits.position };
                }
            }
        }
        Ok(())
    }

    fn write_data(&self, copy: &mut Vec<u8>, data: &[u8]) {
        let (mut writer, mut previous) = (BitWriter { bytes: copy, word: 0, bits: 0 }, 0);
        // A block has at least a bit. Behind the first one that was not decoded, the scan ends too early.
        for block in self.blocks.iter().take_while(|block| block.end > 0) {
            let difference = (block.dc - previous).clamp(-(1 << MAX_CATEGORY) + 1, (1 << MAX_CATEGORY) - 1);
            previous = block.dc;
            let category = i32::BITS - difference.unsigned_abs().leading_zeros();
            writer.put(category, CATEGORY_BITS);
            // A negative difference is stored less one, without the upper bits (T.81, F.1.2.1).
            let stored = if difference < 0 { difference - 1 } else { difference };
            writer.put(stored.cast_unsigned() & ((1 << category) - 1), category);
            let mut reader = BitReader { data, position: block.start };
            while reader.position < block.end {
                let count = (block.end - reader.position).min(16);
                writer.put(u32::from(reader.peek()) >> (16 - count), u32::try_from(count).unwrap_or_default());
                reader.position += count;
            }
        }
        writer.finish();
    }
}

/// Appends data without the zeros that distinguish a byte of ones from a marker, and without fill bytes before such a zero.
fn append_unstuffed(data: &mut Vec<u8>, mut coded: &[u8]) {
    while let Some(ones) = memchr::memchr(0xff, coded) {
        data.extend_from_slice(&coded[..=ones]);
        let run = coded[ones..].iter().take_while(|byte| **byte == 0xff).count();
        coded = coded.get(ones + run + 1..).unwrap_or_default();
    }
    data.extend_from_slice(coded);
}

/// Reads bits, the upper bit of a byte first.
struct BitReader<'a> {
    data: &'a [u8],
    /// Of the next bit.
    position: usize,
}

impl BitReader<'_> {
    /// Returns the next 16 bits; behind the end they are zero.
    fn peek(&self) -> u16 {
        let byte = |offset: usize| u32::from(self.data.get(self.position / 8 + offset).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        (word << (self.position % 8) >> 8 & 0xffff) as u16
    }

    fn skip(&mut self, bits: usize) -> Result<(), &'static str> {
        self.position += bits;
        if self.position <= 8 * self.data.len() { Ok(()) } else { Err(ENDS_EARLY) }
    }

    fn code(&mut self, lookup: &[[u8; 2]]) -> Result<u8, &'static str> {
        let [length, value] = lookup[usize::from(self.peek())];
        self.skip(length.into())?;
        if length == 0 { Err(INVALID_CODE) } else { Ok(value) }
    }

    /// Reads a difference of `length` bits (T.81, F.2.2.1).
    fn signed(&mut self, length: u32) -> Result<i32, &'static str> {
        if length > MAX_CATEGORY {
            return Err(INVALID_CODE);
        }
        let value = i32::from(self.peek()) >> (16 - length);
        self.skip(length as usize)?;
        Ok(if length > 0 && value < 1 << (length - 1) { value - (1 << length) + 1 } else { value })
    }

    /// Skips the AC coefficients of a block (T.81, F.2.2.2).
    fn skip_ac(&mut self, lookup: &[[u8; 2]]) -> Result<(), &'static str> {
        let mut next = 1;
        while next < 64 {
            let value = usize::from(self.code(lookup)?);
            match (value >> 4, value & 15) {
                (15, 0) => next += 16,
                (_, 0) => break,
                (run, length) => {
                    self.skip(length)?;
                    next += run + 1;
                }
            }
        }
        Ok(())
    }
}

/// Writes bits, the upper bit of a byte first, with a zero behind each byte of ones.
struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    word: u64,
    /// The number of bits in the word that are not written yet, below 8 between calls.
    bits: u32,
}

impl BitWriter<'_> {
    /// Writes the lower `count` bits of `value`, at most 16; the upper bits of `value` are zero.
    fn put(&mut self, value: u32, count: u32) {
        self.word = self.word << count | u64::from(value);
        self.bits += count;
        while self.bits >= 8 {
            self.bits -= 8;
            let byte = (self.word >> self.bits & 0xff) as u8;
            self.bytes.push(byte);
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
    }

    /// Fills the last byte up with ones (T.81, F.1.2.3).
    fn finish(mut self) {
        let missing = (8 - self.bits) % 8;
        self.put((1 << missing) - 1, missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with the single code `0`.
    fn single_code(value: u8) -> Vec<[u8; 2]> {
        let counts = std::array::from_fn(|index| u8::from(index == 0));
        Table { counts: &counts, values: &[value] }.lookup().unwrap()
    }

    #[test]
    fn stuffed_zeros_and_fill_bytes_are_removed() {
        let mut data = Vec::new();
        append_unstuffed(&mut data, &[1, 0xff, 0, 2, 0xff, 0xff, 0xff, 0, 0xff, 0, 3]);
        assert_eq!(data, [1, 0xff, 2, 0xff, 0xff, 3]);
    }

    #[test]
    fn coefficients_of_more_than_16_bits_are_refused() {
        // The code of a difference of 15 bits, the largest one, and the end of the block.
        let block = "0".to_string() + &"1".repeat(15) + "0";
        let data: Vec<u8> = block
            .repeat(8)
            .as_bytes()
            .chunks(8)
            .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')))
            .collect();
        let lookups = [single_code(15), single_code(0)];
        let blocks = vec![Block::default(); 2];
        let mut component = Component { id: 1, tables: [0; 2], factors: [1; 2], size: [2, 1], blocks };
        let (mut bits, mut previous) = (BitReader { data: &data, position: 0 }, 0);
        assert_eq!(component.decode_mcu([0, 0], &mut bits, &lookups, &mut previous), Ok(()));
        assert_eq!(component.blocks[0].dc, 32_767);
        assert_eq!(component.decode_mcu([1, 0], &mut bits, &lookups, &mut previous), Err(INVALID_CODE));
    }

    #[test]
    fn tables_of_more_than_256_codes_are_ignored() {
        let table = |last: u8| {
            let counts: [u8; 16] = std::array::from_fn(|index| if index < 15 { 16 } else { last });
            [&[0][..], &counts, &[0; 300]].concat()[..17 + 240 + usize::from(last)].to_vec()
        };
        for (last, is_read) in [(16, true), (17, false)] {
            let (content, mut tables) = (table(last), Tables::default());
            tables.read(&content);
            assert_eq!(tables.get(0, 0).is_some(), is_read, "{last}");
        }
    }
}
