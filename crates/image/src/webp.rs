//! Decodes WebP, and of an animation the first frame (RFC 9649, 2.7). As in libwebp, the first frame is not blended with anything, and the
//! canvas around it is black; the background colour is ignored.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;

use super::decoded_image::{DecodedImage, Extent};
use super::error::ImageError;
use super::format::Format;
use super::header;
use super::library_decoder::{check_header_size, decode_and_reserve, decode_with};
use super::limits::{CancelToken, Limits};

/// Decodes a WebP. The first frame of an animation is decoded as a file of its own: the decoder would blend it with the canvas.
pub(super) fn decode_webp(
    bytes: &[u8],
    limits: &Limits,
    extent: Extent,
    token: Option<&CancelToken>,
) -> Result<Option<DecodedImage>, ImageError> {
    let format = Format::Webp;
    let undecodable = |e: image::ImageError| ImageError::Undecodable { format, reason: e.to_string() };
    check_header_size(header::webp_bitstream(bytes), format, limits)?;
    // The decoder allocates the declared length of the EXIF chunk, up to four gigabytes, before it reads the chunk.
    let orientation = header::webp_exif(bytes).map_or(Orientation::NoTransforms, header::orientation);
    let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(undecodable)?;
    let Some(frame) = first_frame(bytes) else {
        return decode_with(decoder, orientation, format, limits, extent, token);
    };
    let (width, height) = decoder.dimensions();
    limits.check_size(format, width, height)?;
    if !frame.fits(width, height) {
        let reason = "the first frame is not within the canvas".to_string();
        return Err(ImageError::Undecodable { format, reason });
    }
    // The bitstream of the frame may be larger than the frame header declares.
    check_header_size(header::webp_bitstream(&frame.still), format, limits)?;
    let decoder = WebPDecoder::new(Cursor::new(&*frame.still)).map_err(undecodable)?;
    let canvas = 3 * u64::from(width) * u64::from(height);
    let image = decode_and_reserve(decoder, orientation, format, limits, extent, token, canvas)?;
    Ok(image.map(|image| {
        let pixels = frame.on_canvas(image.pixels, width, height);
        DecodedImage { width, height, file_size: (width, height), pixels, ..image }
    }))
}

/// The first frame, as a file of its own.
struct FirstFrame {
    still: Vec<u8>,
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// Returns the first frame; `None` if the file is not an animation. Its chunks are not checked.
fn first_frame(bytes: &[u8]) -> Option<FirstFrame> {
    const ANIMATION: u8 = 2;
    bytes.get(12..).filter(|chunks| chunks.starts_with(b"VP8X"))?;
    if bytes.get(20)? & ANIMATION == 0 {
        return None;
    }
    let (_, length, content) = header::webp_chunks(bytes).find(|(name, ..)| *name == b"ANMF")?;
    let content = &content[..length.min(content.len())];
    let [left, top, width, height] = [0, 3, 6, 9].map(|at| u24_at(content, at));
    let still = still_image(content.get(6..12)?, content.get(16..)?);
    Some(FirstFrame { still, left: 2 * left?, top: 2 * top?, width: width? + 1, height: height? + 1 })
}

impl FirstFrame {
    /// Returns whether the frame has pixels on a canvas of this size alone.
    fn fits(&self, width: u32, height: u32) -> bool {
        self.left + self.width <= width as usize && self.top + self.height <= height as usize
    }

    /// Places the RGB pixels of the frame on a black canvas.
    fn on_canvas(&self, pixels: Vec<u8>, width: u32, height: u32) -> Vec<u8> {
        let (width, height) = (width as usize, height as usize);
        if [self.width, self.height] == [width, height] {
            return pixels;
        }
        let mut canvas = vec![0; 3 * width * height];
        let rows = canvas.chunks_exact_mut(3 * width).skip(self.top);
        for (row, frame) in rows.zip(pixels.chunks_exact(3 * self.width)) {
            row[3 * self.left..3 * (self.left + self.width)].copy_from_slice(frame);
        }
        canvas
    }
}

/// Builds a file of the chunks of a frame. `size` is that of the frame, as it stands in both headers.
fn still_image(size: &[u8], chunks: &[u8]) -> Vec<u8> {
    const ALPHA: u8 = 0x10;
    // With the flag, the decoder expects alpha in front of lossy pixels.
    let flags = if chunks.starts_with(b"VP8 ") { 0 } else { ALPHA };
    let length = u32::try_from(22 + chunks.len()).unwrap_or(u32::MAX).to_le_bytes();
    [b"RIFF", &length[..], b"WEBPVP8X\x0a\0\0\0", &[flags, 0, 0, 0], size, chunks].concat()
}

fn u24_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..at + 3).map(|three| three.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    fn animation() -> Vec<u8> {
        std::fs::read("../../tests/data/kinds/animated.webp").unwrap()
    }

    fn limits() -> Limits {
        Limits { formats: "webp".parse().unwrap(), ..Limits::default() }
    }

    #[test]
    fn first_frame_is_a_file_of_its_own() {
        let frame = first_frame(&animation()).unwrap();
        assert!(frame.fits(151, 101) && !frame.fits(150, 101));
        assert_eq!(decode(&frame.still, &limits()).unwrap().pixels, decode(&animation(), &limits()).unwrap().pixels);
        assert!(first_frame(&frame.still).is_none(), "it is not an animation");
    }

    #[test]
    fn frame_outside_of_the_canvas_is_refused() {
        let mut file = animation();
        let frame = file.windows(4).position(|name| name == b"ANMF").unwrap();
        file[frame + 8] = 1;
        let reason = decode(&file, &limits()).unwrap_err().to_string();
        assert!(reason.contains("the first frame is not within the canvas"), "{reason}");
    }

    /// The decoder allocates memory for the size of the bitstream that it decodes.
    #[test]
    fn size_of_the_decoded_bitstream_is_checked() {
        let chunk =
            |name: &[u8; 4], content: &[u8]| [name, &(content.len() as u32).to_le_bytes()[..], content].concat();
        let vp8 = |side: u16| {
            chunk(b"VP8 ", &[&[0, 0, 0, 0x9d, 1, 0x2a][..], &side.to_le_bytes(), &side.to_le_bytes(), &[0; 6]].concat())
        };
        let frame = |side: u16| chunk(b"ANMF", &[vec![0; 16], vp8(side)].concat());
        let file = |flags: u8, chunks: &[Vec<u8>]| {
            let head = chunk(b"VP8X", &[flags, 0, 0, 0, 9, 0, 0, 9, 0, 0]);
            let chunks = [head, chunk(b"ANIM", &[0; 6]), chunks.concat()].concat();
            [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunks].concat()
        };
        let animation = file(2, &[vp8(1), frame(16_383)]);
        let still = file(0, &[frame(1), vp8(16_383)]);
        for file in [animation, still] {
            let error = decode(&file, &limits()).map(|image| image.pixels.len()).unwrap_err();
            assert!(matches!(error, ImageError::TooManyPixels { width: 16_383, .. }), "{error}");
        }
    }

    #[test]
    fn surroundings_of_the_frame_are_black() {
        let frame = FirstFrame { still: Vec::new(), left: 1, top: 1, width: 1, height: 1 };
        assert_eq!(frame.on_canvas(vec![9; 3], 2, 2), [0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9]);
    }

    #[test]
    fn truncated_files_do_not_panic() {
        let whole = animation();
        for end in 0..500 {
            let _ = first_frame(&whole[..end]);
        }
    }
}
