//! The first frame of a GIF and its screen (GIF89a specification, 18 to 23), which the decoder and Pillow treat differently.

use std::borrow::Cow;

/// The position and size of a GIF's first frame, in pixels of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GifFrame {
    left: u32,
    top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Colour of the screen around the frame. As in Pillow it is the transparent colour, or else the first colour; the
    /// background colour of the screen is ignored.
    surrounding: [u8; 3],
}

/// Returns the first frame of a GIF. It may be larger than the screen, and the decoder allocates memory for the frame.
pub(super) fn gif_frame(bytes: &[u8]) -> Option<GifFrame> {
    // Signature and logical screen descriptor; its flags say whether a colour table follows.
    let (global, mut rest) = bytes.get(13..)?.split_at_checked(table_length(*bytes.get(10)?))?;
    let mut transparent = None;
    loop {
        match *rest.first()? {
            // An extension: a label, then blocks up to an empty one.
            0x21 => {
                // Graphic control: a block of four bytes with flags, the delay, and the index of the transparent colour.
                // As in Pillow, a block without such a colour does not revoke that of the block before.
                if let &[_, 0xf9, 4, flags, _, _, index, ..] = rest
                    && flags & 1 == 1
                {
                    transparent = Some(index);
                }
                rest = rest.get(2..)?;
                loop {
                    let length = usize::from(*rest.first()?);
                    rest = rest.get(1 + length..)?;
                    if length == 0 {
                        break;
                    }
                }
            }
            0x2c => {
                let [left, top, width, height] =
                    [u16_at(rest, 1)?, u16_at(rest, 3)?, u16_at(rest, 5)?, u16_at(rest, 7)?];
                let flags = *rest.get(9)?;
                let own = rest.get(10..10 + table_length(flags)).filter(|table| !table.is_empty());
                let colours = own.unwrap_or(global).as_chunks::<3>().0;
                let surrounding = colours.get(usize::from(transparent.unwrap_or(0))).copied().unwrap_or_default();
                return Some(GifFrame { left, top, width, height, surrounding });
            }
            _ => return None,
        }
    }
}

/// Returns the file with a screen that holds the first frame, as Pillow and browsers display it. A frame that ends beyond the
/// largest possible screen stays cut.
pub(super) fn with_gif_screen<'a>(bytes: &'a [u8], frame: &GifFrame) -> Cow<'a, [u8]> {
    let (Some(width), Some(height)) = (u16_at(bytes, 6), u16_at(bytes, 8)) else { return Cow::Borrowed(bytes) };
    let needed = [width.max(frame.left + frame.width), height.max(frame.top + frame.height)];
    if needed == [width, height] {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    for (at, side) in [6, 8].into_iter().zip(needed) {
        let side = u16::try_from(side).unwrap_or(u16::MAX);
        bytes[at..at + 2].copy_from_slice(&side.to_le_bytes());
    }
    Cow::Owned(bytes)
}

impl GifFrame {
    /// Fills the pixels around the frame. `pixels` are RGB in rows of `width`.
    pub(super) fn fill_surrounding(&self, pixels: &mut [u8], width: u32) {
        let [left, top, right, bottom] =
            [self.left, self.top, self.left + self.width, self.top + self.height].map(|edge| edge as usize);
        let height = pixels.len() / (3 * width as usize);
        if left == 0 && top == 0 && right >= width as usize && bottom >= height {
            return;
        }
        for (y, row) in pixels.chunks_exact_mut(3 * width as usize).enumerate() {
            let is_beside = !(top..bottom).contains(&y);
            for (x, pixel) in row.as_chunks_mut().0.iter_mut().enumerate() {
                if is_beside || !(left..right).contains(&x) {
                    *pixel = self.surrounding;
                }
            }
        }
    }
}

/// Returns the length of a colour table in bytes; an entry has three.
fn table_length(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u32> {
    let pair = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*pair).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(bytes: &[u8]) -> Option<(u32, u32)> {
        gif_frame(bytes).map(|frame| (frame.width, frame.height))
    }

    #[test]
    fn size_of_the_first_frame_is_found() {
        let cat = std::fs::read("../../tests/data/variants/cat.gif").unwrap();
        assert_eq!(size(&cat), Some((451, 300)));
        for end in 0..2000 {
            let _ = size(&cat[..end]);
        }
        let beyond = b"GIF89a\x01\0\x01\0\0\0\0\x21\xf9\0\x2c\0\0\0\0\xa0\x0f\xa0\x0f\0";
        assert_eq!(size(beyond), Some((4000, 4000)));
    }

    #[test]
    fn surrounding_has_the_transparent_or_the_first_colour() {
        let screen = b"GIF89a\x03\0\x02\0\x80\x01\0\x01\x02\x03\x04\x05\x06";
        let control = b"\x21\xf9\x04\x01\0\0\x01\0";
        let frame = b"\x2c\x01\0\0\0\x01\0\x01\0\0";
        let colour = |parts: &[&[u8]]| gif_frame(&parts.concat()).unwrap().surrounding;
        assert_eq!(colour(&[screen, frame]), [1, 2, 3]);
        assert_eq!(colour(&[screen, control, frame]), [4, 5, 6]);
        assert_eq!(colour(&[screen, control, b"\x21\xf9\x04\0\0\0\0\0", frame]), [4, 5, 6]);
        let own = [&frame[..9], b"\x80\x07\x08\x09\x0a\x0b\x0c"].concat();
        assert_eq!(colour(&[screen, &own]), [7, 8, 9]);
        let mut pixels = [9; 18];
        gif_frame(&[&screen[..], frame].concat()).unwrap().fill_surrounding(&mut pixels, 3);
        assert_eq!(pixels, [1, 2, 3, 9, 9, 9, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
    }
}
