//! Rewrites BMP files that the decoder reads otherwise than Pillow, and corrects the decoded colours.

use std::borrow::Cow;

/// The length of the file header; the bitmap header follows.
pub(super) const FILE_HEADER: usize = 14;
/// The length of the bitmap header of OS/2, version 1, with 16-bit sizes and no compression.
pub(super) const OS2_V1_HEADER: u32 = 12;
/// The length of the bitmap header of OS/2, version 2. It begins with the fields of the header of Windows.
pub(super) const OS2_V2_HEADER: u32 = 64;
pub(super) const WINDOWS_HEADER: u32 = 40;
/// Values of the field for compression.
const RUN_LENGTHS: [u32; 2] = [1, 2];
const BIT_FIELDS: u32 = 3;

/// How decoded samples become those of Pillow.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ColourRule {
    /// They are the same.
    AsDecoded,
    /// The first sample of a pixel is an index of the palette.
    Palette(Vec<[u8; 3]>),
    /// The samples have fewer bits in the file, and their scaling truncates. The decoder rounds.
    Truncated([u32; 3]),
}

impl ColourRule {
    /// Corrects RGB pixels.
    pub(super) fn apply(&self, pixels: &mut [u8]) {
        for pixel in pixels.as_chunks_mut::<3>().0 {
            match self {
                Self::AsDecoded => return,
                // As in Pillow, an index beyond the palette is black.
                Self::Palette(palette) => *pixel = palette.get(usize::from(pixel[0])).copied().unwrap_or_default(),
                Self::Truncated(depths) => {
                    for (sample, depth) in pixel.iter_mut().zip(depths) {
                        let stored = u32::from(*sample) >> (8 - depth);
                        *sample = u8::try_from(stored * 255 / ((1 << depth) - 1)).unwrap_or(u8::MAX);
                    }
                }
            }
        }
    }
}

/// The fields of both headers that decide how pixels are read.
pub(super) struct Header {
    /// The length of the bitmap header.
    pub(super) length: u32,
    depth: u32,
    compression: u32,
    /// The number of colours; zero if it follows from the depth.
    colours: u32,
    /// The position of the pixels.
    offset: u32,
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (length, offset) = (number(bytes, FILE_HEADER)?, number(bytes, 10)?);
        Some(if length == OS2_V1_HEADER {
            Self { length, depth: number(bytes, 24)? & 0xffff, compression: 0, colours: 0, offset }
        } else {
            let [depth, compression, colours] = [number(bytes, 28)? & 0xffff, number(bytes, 30)?, number(bytes, 46)?];
            Self { length, depth, compression, colours, offset }
        })
    }

    /// Returns the position behind the headers and the bit fields.
    fn end(&self) -> u32 {
        let has_masks_behind = self.length == WINDOWS_HEADER && self.compression == BIT_FIELDS;
        self.length.saturating_add(14 + 12 * u32::from(has_masks_behind))
    }

    /// Returns the length of the palette in bytes.
    fn palette_length(&self) -> u32 {
        let entry = if self.length == OS2_V1_HEADER { 3 } else { 4 };
        match (self.depth, self.colours) {
            (1..=8, 0) => entry << self.depth,
            (1..=8, colours) => colours.saturating_mul(entry),
            _ => 0,
        }
    }

    /// Returns the position of the pixels. As in Pillow, they are behind the palette if there is no position in the header, or if
    /// it is that of the palette.
    pub(super) fn pixels(&self) -> u32 {
        let is_palette = self.depth <= 8 && self.offset == self.length.saturating_add(14);
        if self.offset == 0 || is_palette { self.end().saturating_add(self.palette_length()) } else { self.offset }
    }
}

/// Returns the file as the decoder needs it, and what remains to be done with the colours.
pub(super) fn rewritten(bytes: &[u8]) -> (Cow<'_, [u8]>, ColourRule) {
    let Some(header) = Header::read(bytes) else { return (Cow::Borrowed(bytes), ColourRule::AsDecoded) };
    if RUN_LENGTHS.contains(&header.compression)
        && let Some((bytes, palette)) = with_indices(bytes, &header)
    {
        return (Cow::Owned(bytes), ColourRule::Palette(palette));
    }
    let mut bytes = Cow::Borrowed(bytes);
    if header.pixels() != header.offset {
        bytes.to_mut()[10..14].copy_from_slice(&header.pixels().to_le_bytes());
    }
    let rule = match (header.depth, header.compression) {
        (16, 0) => ColourRule::Truncated([5; 3]),
        (16, BIT_FIELDS) => match [54, 58, 62].map(|at| number(&bytes, at).unwrap_or(0)) {
            [0x7c00, 0x3e0, 0x1f] => ColourRule::Truncated([5; 3]),
            [0xf800, 0x7e0, 0x1f] => ColourRule::Truncated([5, 6, 5]),
            _ => ColourRule::AsDecoded,
        },
        _ => ColourRule::AsDecoded,
    };
    (bytes, rule)
}

/// Replaces the palette by one whose colours are the indices, and returns the palette. In a file with run lengths, pixels without
/// a run have the first colour. The decoder makes them black, which is then the colour of the first index.
fn with_indices(bytes: &[u8], header: &Header) -> Option<(Vec<u8>, Vec<[u8; 3]>)> {
    let is_known = header.length >= WINDOWS_HEADER && matches!(header.depth, 4 | 8);
    let start = usize::try_from(header.end()).ok()?;
    let palette = bytes.get(start..)?.get(..usize::try_from(header.palette_length()).ok()?).filter(|_| is_known)?;
    let colours = palette.as_chunks::<4>().0.iter().map(|[blue, green, red, _]| [*red, *green, *blue]).collect();
    let mut rewritten = bytes.get(..start)?.to_vec();
    for index in 0..=u8::MAX >> (8 - header.depth) {
        rewritten.extend([0, 0, index, 0]);
    }
    let offset = u32::try_from(rewritten.len()).ok()?;
    rewritten.extend_from_slice(bytes.get(usize::try_from(header.pixels()).ok()?..)?);
    rewritten[10..14].copy_from_slice(&offset.to_le_bytes());
    rewritten[46..50].fill(0);
    Some((rewritten, colours))
}

/// Reads a number of 32 bits.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    fn pixels(bytes: &[u8]) -> Vec<u8> {
        let limits = Limits { formats: "bmp".parse().unwrap(), ..Limits::default() };
        decode(bytes, &limits).unwrap().pixels
    }

    /// A BMP with the header of Windows. `behind` is the palette and the pixels.
    fn bmp(size: [u32; 2], depth: u32, compression: u32, colours: u32, behind: &[u8]) -> Vec<u8> {
        let fields = [40, size[0], size[1], 1 | depth << 16, compression, 0, 0, 0, colours, 0];
        let header: Vec<u8> = fields.iter().flat_map(|field: &u32| field.to_le_bytes()).collect();
        let offset = (54 + 4 * colours).to_le_bytes();
        [b"BM\0\0\0\0\0\0\0\0", &offset[..], &header, behind].concat()
    }

    #[test]
    fn pixels_without_a_run_have_the_first_colour() {
        let palette = [1, 2, 3, 0, 4, 5, 6, 0];
        // A pixel of the second colour, the end of the row, and the end of the file.
        let runs = [1, 1, 0, 0, 0, 1];
        let file = bmp([2, 1], 8, 1, 2, &[&palette[..], &runs].concat());
        assert_eq!(pixels(&file), [6, 5, 4, 3, 2, 1]);
        // The third colour is not in the palette.
        let file = bmp([2, 1], 8, 1, 2, &[&palette[..], &[2, 2, 0, 0, 0, 1]].concat());
        assert_eq!(pixels(&file), [0; 6]);
    }

    #[test]
    fn pixels_are_behind_the_palette_without_a_position() {
        let behind = [1, 2, 3, 0, 4, 5, 6, 0, 1, 0, 0, 0];
        let expected = [6, 5, 4, 3, 2, 1];
        let mut file = bmp([2, 1], 8, 0, 2, &behind);
        for offset in [62, 54, 0] {
            file[10] = offset;
            assert_eq!(pixels(&file), expected, "{offset}");
        }
    }

    #[test]
    fn samples_of_five_and_six_bits_are_scaled_as_in_pillow() {
        let masks: Vec<u8> = [0xf800, 0x7e0, 0x1f_u32].iter().flat_map(|mask| mask.to_le_bytes()).collect();
        // Red 3, green 3 and blue 31.
        let pixel = (3 << 11 | 3 << 5 | 31_u16).to_le_bytes();
        let mut file = bmp([1, 1], 16, 3, 0, &[&masks[..], &pixel, &[0; 2]].concat());
        file[10] += 12;
        assert_eq!(pixels(&file), [24, 12, 255]);
    }

    #[test]
    fn truncated_files_do_not_panic() {
        let palette = [1, 2, 3, 0, 4, 5, 6, 0];
        for compression in [0, 1, 3] {
            let whole = bmp([2, 1], 8, compression, 2, &[&palette[..], &[1, 0, 0, 0]].concat());
            for end in 0..whole.len() {
                let _ = rewritten(&whole[..end]);
            }
            for at in [10, 14, 28, 46] {
                let mut damaged = whole.clone();
                damaged[at..at + 4].fill(0xff);
                let _ = rewritten(&damaged);
            }
        }
    }
}
