//! JPEG: reads the header, and decodes pixels by zune-jpeg or, with the cargo feature `turbojpeg`, by libjpeg-turbo.
//!
//! The header reader (ITU-T T.81, B.1.1) returns size, EXIF block, number of scans and completeness. The two decoders
//! disagree on some of them, so Kiln reads them itself.
//!
//! zune-jpeg is the default, since it needs only Rust to build. libjpeg-turbo is faster, but needs cmake and nasm. Both
//! return the same colours: CMYK and YCCK are read as Adobe stores them, inverted, with or without the Adobe marker; Pillow
//! does the same. One difference remains: libjpeg-turbo only warns of some damage, such as a few wrong bytes within a scan.
//! Here such a warning is an error, since its interface does not tell warnings and errors apart.

/// Maximum number of scans. Real encoders write about ten, and at most 18. A scan has few bytes, but it takes time for every
/// pixel.
const MAX_SCANS: u16 = 100;

/// Maximum number of pixels that all scans of a file process together. It lowers the maximum number of scans for large
/// images, but never below [`ALWAYS_ALLOWED_SCANS`].
const MAX_SCANNED_PIXELS: u64 = 1_000_000_000;

/// More scans than a real encoder writes.
const ALWAYS_ALLOWED_SCANS: u64 = 20;

/// Returns the maximum number of scans for an image of this size; both sides are positive.
pub(super) fn max_scans(width: u32, height: u32) -> u64 {
    (MAX_SCANNED_PIXELS / (u64::from(width) * u64::from(height))).clamp(ALWAYS_ALLOWED_SCANS, MAX_SCANS.into())
}

/// Decodes to u8 RGB, `[height, width, 3]` laid out flat. The error is the decoder's reason.
pub(super) fn decode_pixels(bytes: &[u8], header: &Header<'_>) -> Result<Vec<u8>, String> {
    #[cfg(feature = "turbojpeg")]
    let pixels = decode_with_turbo(bytes, header);
    #[cfg(not(feature = "turbojpeg"))]
    let pixels = decode_with_zune(bytes, header);
    pixels
}

#[cfg(any(not(feature = "turbojpeg"), test))]
pub(super) fn decode_with_zune(bytes: &[u8], header: &Header<'_>) -> Result<Vec<u8>, String> {
    use zune_core::bytestream::ZCursor;
    use zune_core::colorspace::ColorSpace;
    use zune_core::options::DecoderOptions;
    use zune_jpeg::JpegDecoder;

    // If the decoder reads a larger size than the checked one, it stops there.
    let options = DecoderOptions::default()
        .set_max_width(header.width as usize)
        .set_max_height(header.height as usize)
        .jpeg_set_max_scans(MAX_SCANS.into())
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let pixels = JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().map_err(|e| e.to_string())?;
    if pixels.len() == header.width as usize * header.height as usize * 3 {
        Ok(pixels)
    } else {
        Err(CONTRADICTION.to_string())
    }
}

#[cfg(feature = "turbojpeg")]
pub(super) fn decode_with_turbo(bytes: &[u8], header: &Header<'_>) -> Result<Vec<u8>, String> {
    use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat};

    let (width, height) = (header.width as usize, header.height as usize);
    let text = |error: turbojpeg::Error| error.to_string();
    let mut decompressor = Decompressor::new().map_err(text)?;
    decompressor.set_scan_limit(MAX_SCANS.into()).map_err(text)?;
    let read = decompressor.read_header(bytes).map_err(text)?;
    if (read.width, read.height) != (width, height) {
        return Err(CONTRADICTION.to_string());
    }
    let is_cmyk = matches!(read.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if is_cmyk { PixelFormat::CMYK } else { PixelFormat::RGB };
    let pitch = width * format.size();
    let mut pixels = vec![0; pitch * height];
    let image = Image { pixels: pixels.as_mut_slice(), width, pitch, height, format };
    decompressor.decompress(bytes, image).map_err(text)?;
    Ok(if is_cmyk { cmyk_to_rgb(&pixels) } else { pixels })
}

/// Inks are inverted: each value is the light that the ink leaves. It is multiplied by the light that black leaves.
#[cfg(feature = "turbojpeg")]
fn cmyk_to_rgb(inks: &[u8]) -> Vec<u8> {
    let mix = |ink: u8, black: u8| ((u16::from(ink) * u16::from(black) + 127) / 255) as u8;
    inks.as_chunks::<4>().0.iter().flat_map(|&[c, m, y, k]| [c, m, y].map(|ink| mix(ink, k))).collect()
}

const CONTRADICTION: &str = "its headers declare different sizes";

/// A JPEG's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// In pixels, before the EXIF orientation.
    pub(super) width: u32,
    /// In pixels, before the EXIF orientation.
    pub(super) height: u32,
    /// The number of colour components.
    pub(super) components: u8,
    /// The TIFF structure of the first EXIF block.
    pub(super) exif: Option<&'a [u8]>,
    /// The number of scans that a decoder processes: one if the first scan has all components.
    pub(super) scans: usize,
    /// True if the end-of-image marker is present. It cannot occur within a scan, and the marker of a thumbnail is inside an
    /// earlier segment. Without this check, decoders fill the missing part with grey and report no error.
    pub(super) is_complete: bool,
}

impl<'a> Header<'a> {
    /// Reads the segments up to the first scan, and counts the scans. `None` if there is no scan, or no frame header before it.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        const START_OF_SCAN: u8 = 0xda;
        let (mut frame, mut exif, mut progressive) = (None, None, false);
        let mut segments = Segments { rest: bytes.get(2..)? };
        let first_scan = loop {
            match segments.next()? {
                (START_OF_SCAN, content) => break content,
                // Start of frame, except for DHT, JPG and DAC, which the iterator skips. Of four markers, the third is progressive.
                (marker @ 0xc0..=0xcf, &[_precision, h1, h0, w1, w0, components, ..]) => {
                    frame.get_or_insert((u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]), components));
                    progressive |= marker & 3 == 2;
                }
                (0xe1, content) => exif = exif.or(content.strip_prefix(b"Exif\0\0")),
                _ => (),
            }
        };
        let (width, height, components) = frame?;
        // Search from the end, where the marker usually is.
        let is_complete = segments.rest.windows(2).rev().any(|pair| pair == [0xff, 0xd9]);
        let all_in_first = !progressive && first_scan.first().is_none_or(|count| *count >= components);
        // The iterator skips the entropy-coded data between the segments like other unknown bytes.
        let scans = if all_in_first { 1 } else { 1 + segments.filter(|(marker, _)| *marker == START_OF_SCAN).count() };
        Some(Self { width: width.into(), height: height.into(), components, exif, scans, is_complete })
    }
}

/// Iterates over markers with the content of their segments.
struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // Like decoders, skip unknown bytes before a marker, and fill bytes.
            let start = self.rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
            let marker = self.rest[start + 1];
            self.rest = &self.rest[start + 2..];
            match marker {
                // TEM, RSTn and SOI have no content.
                0x01 | 0xd0..=0xd8 => (),
                0xd9 => return None,
                // DHT, JPG and DAC have markers in the range of the frames, but are not frames. They are not needed here.
                _ => {
                    let (length, _) = self.rest.split_first_chunk()?;
                    let (segment, rest) = self.rest.split_at_checked(u16::from_be_bytes(*length).into())?;
                    self.rest = rest;
                    let content = segment.get(2..)?;
                    if !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                        return Some((marker, content));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Header;

    const FRAME: [u8; 10] = [0xff, 0xc0, 0x00, 0x08, 8, 0x01, 0x02, 0x03, 0x04, 3];
    const SCAN: [u8; 6] = [0xff, 0xda, 0x00, 0x02, 0x12, 0x34];
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
        let header =
            Header { width: 0x304, height: 0x102, components: 3, exif: Some(b"one"), scans: 1, is_complete: true };
        assert_eq!(Header::read(&bytes), Some(header));
    }

    #[test]
    fn end_marker_of_a_thumbnail_does_not_complete_the_image() {
        let cut = jpeg(&[&exif(&END), &FRAME, &SCAN]);
        assert!(!Header::read(&cut).unwrap().is_complete);
        assert!(Header::read(&[&cut[..], &END].concat()).unwrap().is_complete);
    }

    #[test]
    fn scans_before_the_end_marker_are_counted() {
        let progressive = [&[0xff, 0xc2][..], &FRAME[2..]].concat();
        let coded = [&SCAN[..], &[1, 2, 0xff, 0x00, 0xda, 0xff, 0xd0, 3]].concat();
        let hidden = [0xff, 0xfe, 0x00, 0x04, 0xff, 0xd9];
        let scans = |parts: &[&[u8]]| Header::read(&jpeg(parts)).unwrap().scans;
        assert_eq!(scans(&[&progressive, &coded, &coded, &hidden, &coded, &END, &coded]), 3);
        assert_eq!(scans(&[&FRAME, &coded, &coded, &END]), 1);
        let of_one = [0xff, 0xda, 0x00, 0x03, 1];
        assert_eq!(scans(&[&FRAME, &of_one, &of_one, &of_one, &END]), 3);
    }

    #[test]
    fn huffman_tables_are_not_frames_and_a_scan_needs_a_frame() {
        let tables = [0xff, 0xc4, 0x00, 0x08, 8, 9, 9, 9, 9, 1];
        assert_eq!(Header::read(&jpeg(&[&tables, &FRAME, &SCAN])).unwrap().width, 0x304);
        assert_eq!(Header::read(&jpeg(&[&tables, &SCAN, &END])), None);
    }

    #[test]
    fn truncated_header_returns_none() {
        let bytes = jpeg(&[&exif(b"one"), &FRAME, &SCAN]);
        for length in 0..bytes.len() - 2 {
            assert_eq!(Header::read(&bytes[..length]), None, "{length}");
        }
    }
}
