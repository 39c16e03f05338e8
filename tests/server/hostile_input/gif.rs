//! Builds GIF files that no encoder would write (GIF89a specification).

/// The maximum width of an LZW code in bits, and the last entry of a full table.
const WIDEST: u32 = 12;
const LAST: u32 = 4095;

/// Builds the signature and the logical screen with a colour table of two.
pub fn screen(width: u16, height: u16) -> Vec<u8> {
    [b"GIF89a", &sides(width, height)[..], &[0x80, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff]].concat()
}

/// Builds an image descriptor followed by `lzw`, whose codes start at 8 bits.
pub fn frame(width: u16, height: u16, lzw: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0x2c, 0, 0, 0, 0][..], &sides(width, height), &[0, 8]].concat();
    for block in lzw.chunks(255) {
        bytes.push(block.len() as u8);
        bytes.extend_from_slice(block);
    }
    bytes.push(0);
    bytes
}

/// Builds a file from a screen and frames.
pub fn file(screen: &[u8], frames: &[u8]) -> Vec<u8> {
    [screen, frames, b";"].concat()
}

/// Encodes at least `pixels` pixels of the first colour in as few codes as possible. Each code is the entry that it creates,
/// one pixel longer than the previous one; once the table is full, the longest entry repeats.
pub fn lzw_bomb(pixels: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // The clear code, one pixel, and then entries from the first free one on.
    bits.push(256, 9);
    bits.push(0, 9);
    let (mut encoded, mut next, mut length) = (1, 258, 2);
    while encoded < pixels {
        // The decoder's table lags one code behind the encoder's.
        let width = (u32::BITS - next.min(LAST).leading_zeros()).min(WIDEST);
        bits.push(next.min(LAST), width);
        encoded += length;
        if next < LAST {
            next += 1;
            length += 1;
        }
    }
    bits.push(257, WIDEST.min(u32::BITS - next.leading_zeros()));
    bits.finish()
}

fn sides(width: u16, height: u16) -> [u8; 4] {
    let ([w0, w1], [h0, h1]) = (width.to_le_bytes(), height.to_le_bytes());
    [w0, w1, h0, h1]
}

/// Collects bits, lowest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, code: u32, width: u32) {
        self.held |= code << self.count;
        self.count += width;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.push(self.held as u8);
        self.bytes
    }
}
