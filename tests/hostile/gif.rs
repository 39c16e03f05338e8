//! GIF files that no encoder would write (GIF89a specification).

/// The widest code that LZW may have, and the last entry of a full table.
const WIDEST: u32 = 12;
const LAST: u32 = 4095;

/// Signature and logical screen with a colour table of two.
pub fn screen(width: u16, height: u16) -> Vec<u8> {
    [b"GIF89a", &sides(width, height)[..], &[0x80, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff]].concat()
}

/// An image descriptor with `lzw` behind it, codes of 8 bits at first.
pub fn frame(width: u16, height: u16, lzw: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0x2c, 0, 0, 0, 0][..], &sides(width, height), &[0, 8]].concat();
    for block in lzw.chunks(255) {
        bytes.push(block.len() as u8);
        bytes.extend_from_slice(block);
    }
    bytes.push(0);
    bytes
}

/// A file of a screen and of frames.
pub fn file(screen: &[u8], frames: &[u8]) -> Vec<u8> {
    [screen, frames, b";"].concat()
}

/// At least so many pixels of the first colour in as few codes as there can be: each code is the entry that it makes,
/// one pixel longer than the last; once the table is full, the longest of them again and again.
pub fn lzw_bomb(pixels: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // Clear, one pixel, and then entries from the first free one on.
    bits.push(256, 9);
    bits.push(0, 9);
    let (mut made, mut next, mut length) = (1, 258, 2);
    while made < pixels {
        // The decoder's table grows a code behind the encoder's.
        let width = (u32::BITS - next.min(LAST).leading_zeros()).min(WIDEST);
        bits.push(next.min(LAST), width);
        made += length;
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

/// Bits, the lowest first.
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
