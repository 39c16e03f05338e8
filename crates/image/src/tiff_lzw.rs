//! LZW of TIFF (TIFF 6.0, section 13), decoded in parts of any length.

const CLEAR: usize = 256;
const END: usize = 257;
/// Codes have at most 12 bits.
const CODES: usize = 4096;
const MIN_WIDTH: u32 = 9;
const MAX_WIDTH: u32 = 12;

/// A decoder, and the state between two parts.
pub(super) struct Lzw<'a> {
    data: &'a [u8],
    /// Bits that were read from the data and belong to the next code.
    bits: u32,
    bit_count: u32,
    /// The bits of the next code.
    width: u32,
    /// The code of all bytes of a string but the last one, and the last byte.
    strings: Vec<(u16, u8)>,
    previous: Option<usize>,
    /// The bytes of the current string that are not yet returned, from the last to the first.
    pending: Vec<u8>,
}

impl<'a> Lzw<'a> {
    /// Creates a decoder of `data`.
    pub(super) fn new(data: &'a [u8]) -> Self {
        let mut strings = Vec::with_capacity(CODES);
        // The two codes without a string have a place in the table.
        strings.extend((0..=u8::MAX).map(|byte| (0, byte)).chain([(0, 0); 2]));
        Self { data, bits: 0, bit_count: 0, width: MIN_WIDTH, strings, previous: None, pending: Vec::new() }
    }

    /// Returns the number of bytes of the data that were not read.
    pub(super) fn remaining(&self) -> usize {
        self.data.len()
    }

    /// Reads as many bytes as `row` has. `None` if the data is damaged, or ends before.
    pub(super) fn fill(&mut self, row: &mut [u8]) -> Option<()> {
        for target in row {
            while self.pending.is_empty() {
                self.read_string()?;
            }
            *target = self.pending.pop()?;
        }
        Some(())
    }

    /// Reads a code, and puts its string into `pending`.
    fn read_string(&mut self) -> Option<()> {
        let code = self.read_code()?;
        if code == CLEAR {
            self.strings.truncate(END + 1);
            (self.width, self.previous) = (MIN_WIDTH, None);
            return Some(());
        }
        if code == END || code > self.strings.len() {
            return None;
        }
        let Some(previous) = self.previous.replace(code) else {
            self.pending.push(u8::try_from(code).ok()?);
            return Some(());
        };
        if self.strings.len() < CODES {
            // The new string is the previous one and the first byte of this one, which may be the new string itself.
            let first = self.first_byte(if code == self.strings.len() { previous } else { code });
            self.strings.push((u16::try_from(previous).ok()?, first));
            // Codes become longer one code earlier than needed.
            if self.strings.len() == (1 << self.width) - 1 && self.width < MAX_WIDTH {
                self.width += 1;
            }
        }
        self.push_string(code)
    }

    fn read_code(&mut self) -> Option<usize> {
        while self.bit_count < self.width {
            let (byte, rest) = self.data.split_first()?;
            self.data = rest;
            self.bits = self.bits << 8 | u32::from(*byte);
            self.bit_count += 8;
        }
        self.bit_count -= self.width;
        let code = self.bits >> self.bit_count;
        self.bits &= (1 << self.bit_count) - 1;
        usize::try_from(code).ok()
    }

    fn first_byte(&self, mut code: usize) -> u8 {
        while code > END {
            code = usize::from(self.strings[code].0);
        }
        self.strings[code].1
    }

    fn push_string(&mut self, mut code: usize) -> Option<()> {
        while code > END {
            let (rest, last) = *self.strings.get(code)?;
            self.pending.push(last);
            code = usize::from(rest);
        }
        self.pending.push(self.strings[code].1);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes are 9 bits long.
    fn packed(codes: &[u32]) -> Vec<u8> {
        let bits: String = codes.iter().map(|code| format!("{code:09b}")).collect();
        bits.as_bytes()
            .chunks(8)
            .map(|byte| {
                let bits = std::str::from_utf8(byte).unwrap();
                u8::from_str_radix(&format!("{bits:0<8}"), 2).unwrap()
            })
            .collect()
    }

    /// The example of the specification.
    #[test]
    fn strings_are_decoded_in_parts() {
        let data = packed(&[256, 7, 258, 8, 8, 258, 6, 6, 257]);
        let expected = [7, 7, 7, 8, 8, 7, 7, 6, 6];
        for length in 1..=9 {
            let mut decoder = Lzw::new(&data);
            let mut decoded = [0; 9];
            for part in decoded.chunks_mut(length) {
                decoder.fill(part).unwrap();
            }
            assert_eq!(decoded, expected, "{length}");
            assert_eq!(decoder.fill(&mut [0]), None, "the data has ended");
        }
    }

    #[test]
    fn damaged_data_is_an_error() {
        for codes in [&[][..], &[257], &[256, 300], &[256, 7, 259], &[256, 258]] {
            assert_eq!(Lzw::new(&packed(codes)).fill(&mut [0; 9]), None, "{codes:?}");
        }
    }
}
