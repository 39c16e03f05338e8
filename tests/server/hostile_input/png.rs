//! Builds PNG files that no encoder would write (PNG specification, 5: chunks; 8.2: interlacing).

use std::io::Write;

use flate2::{Compress, Compression, Crc, FlushCompress, write::ZlibEncoder};

/// Colour types of IHDR.
pub const GREY: u8 = 0;
pub const RGB: u8 = 2;

/// The fields of IHDR.
pub struct Header {
    pub width: u32,
    pub height: u32,
    pub depth: u8,
    pub colour: u8,
    pub interlaced: bool,
}

impl Header {
    pub fn flat(width: u32, height: u32, colour: u8) -> Self {
        Self { width, height, depth: 8, colour, interlaced: false }
    }

    /// Returns the uncompressed size of all rows with their filter bytes.
    pub fn raw_length(&self) -> usize {
        let samples = if self.colour == RGB { 3 } else { 1 };
        let pass = |width: u32, height: u32| {
            let row = (width as usize * samples * usize::from(self.depth)).div_ceil(8);
            if width == 0 { 0 } else { (1 + row) * height as usize }
        };
        if !self.interlaced {
            return pass(self.width, self.height);
        }
        // Left, top, and the distances of the seven passes.
        let passes = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
        let side = |whole: u32, start: u32, step: u32| whole.saturating_sub(start).div_ceil(step);
        passes.map(|[x, y, dx, dy]| pass(side(self.width, x, dx), side(self.height, y, dy))).iter().sum()
    }
}

/// Builds a file from IHDR, `chunks` and IEND.
pub fn file(header: &Header, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let sizes = [header.width.to_be_bytes(), header.height.to_be_bytes()].concat();
    let rest = [header.depth, header.colour, 0, 0, header.interlaced.into()];
    chunk(&mut bytes, b"IHDR", &[&sizes[..], &rest].concat());
    chunks.iter().for_each(|(name, content)| chunk(&mut bytes, name, content));
    chunk(&mut bytes, b"IEND", b"");
    bytes
}

/// Builds a complete black image.
pub fn black(header: &Header) -> Vec<u8> {
    file(header, &[(b"IDAT", &zlib(&vec![0; header.raw_length()]))])
}

pub fn chunk(bytes: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    let mut sum = Crc::new();
    sum.update(name);
    sum.update(content);
    for part in [&(content.len() as u32).to_be_bytes()[..], name, content, &sum.sum().to_be_bytes()] {
        bytes.extend_from_slice(part);
    }
}

pub fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("writing to memory succeeds")
}

/// Builds a stream that decompresses to `mebibytes` MiB of zeros and is a thousand times smaller. One compressed MiB is
/// repeated, which a full flush allows. The checksum at the end is wrong.
pub fn zlib_bomb(mebibytes: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(1 << 16);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![0; 1 << 20], &mut block, FlushCompress::Full).expect("zeros can be compressed");
    // An empty last block and a wrong checksum.
    [&[0x78, 0x9c], block.repeat(mebibytes).as_slice(), &[3, 0, 0, 0, 0, 0]].concat()
}
