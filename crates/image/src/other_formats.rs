//! Recognises files that Kiln does not decode, so that the error names the format and says how to convert the file.

/// A format that Kiln does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherFormat {
    /// With its article: "a PDF document".
    pub name: &'static str,
    /// How to get an image that Kiln decodes.
    pub advice: &'static str,
}

const STILL: &str = "convert it to JPEG or PNG, for example with ImageMagick: magick FILE image.png";
const VIDEO: &str = "extract a frame, for example with FFmpeg: ffmpeg -i FILE -frames:v 1 image.png";
const PAGE: &str = "render it as PNG, for example with Inkscape: inkscape FILE --export-filename=image.png";
const DOCUMENT: &str = "render a page, for example with Poppler: pdftoppm -png -singlefile FILE image";
const RAW: &str =
    "export it as JPEG, or extract the preview, for example with ExifTool: exiftool -b -PreviewImage FILE > image.jpg";

const fn other(name: &'static str, advice: &'static str) -> OtherFormat {
    OtherFormat { name, advice }
}

const HEIC: OtherFormat = other("a HEIC image", STILL);
const AVIF: OtherFormat = other("an AVIF image", STILL);
const JPEG_XL: OtherFormat = other("a JPEG XL image", STILL);
const JPEG_2000: OtherFormat = other("a JPEG 2000 image", STILL);
const ICON: OtherFormat = other("an icon (ICO)", STILL);
const SVG: OtherFormat = other("an SVG drawing", PAGE);
const MP4: OtherFormat = other("a video (MP4 or QuickTime)", VIDEO);
const CAMERA: OtherFormat = other("a raw camera file", RAW);

/// First bytes that no other format has.
const MAGIC: [(&[u8], OtherFormat); 17] = [
    (b"%PDF-", other("a PDF document", DOCUMENT)),
    (b"%!PS", other("a PostScript document", STILL)),
    (b"8BPS\0", other("a Photoshop document", STILL)),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
    (b"\xff\x0a", JPEG_XL),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"\x1a\x45\xdf\xa3", other("a video (Matroska or WebM)", VIDEO)),
    // Canon, Fujifilm, Olympus, Panasonic, Minolta, Sigma. Other cameras write TIFF files.
    (b"II\x1a\0\0\0HEAPCCDR", CAMERA),
    (b"II*\0\x10\0\0\0CR\x02", CAMERA),
    (b"FUJIFILMCCD-RAW", CAMERA),
    (b"IIRO", CAMERA),
    (b"IIRS", CAMERA),
    (b"MMOR", CAMERA),
    (b"IIU\0", CAMERA),
    (b"\0MRM", CAMERA),
    (b"FOVb", CAMERA),
];

/// Detects a format by the first bytes.
pub(super) fn detect(bytes: &[u8]) -> Option<OtherFormat> {
    let by_magic = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, format)| *format);
    by_magic.or_else(|| base_media(bytes)).or_else(|| {
        if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"AVI ") {
            Some(other("a video (AVI)", VIDEO))
        } else if is_icon(bytes) {
            Some(ICON)
        } else {
            is_svg(bytes).then_some(SVG)
        }
    })
}

/// Files of the ISO base media format begin with their brands (ISO/IEC 14496-12, 4.3): the major one, and compatible ones.
fn base_media(bytes: &[u8]) -> Option<OtherFormat> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let brands = bytes.get(4..length.clamp(12, 256).min(bytes.len()))?.strip_prefix(b"ftyp")?.as_chunks::<4>().0;
    let has = |names: &[&[u8; 4]]| brands.iter().any(|brand| names.contains(&brand));
    Some(match brands.first()? {
        b"crx " => CAMERA,
        // Both kinds of image may have the same major brand.
        _ if has(&[b"avif", b"avis"]) => AVIF,
        _ if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) => HEIC,
        _ => MP4,
    })
}

/// Whether the file is a directory of icons: two reserved bytes, the type, the number of icons, and the first entry, which has
/// a reserved byte and a position behind the directory.
fn is_icon(bytes: &[u8]) -> bool {
    let Some(&[0, 0, 1, 0, count, 0, _, _, _, 0, ..]) = bytes.first_chunk::<22>() else { return false };
    let position = bytes[18..22].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
    count > 0 && position >= 6 + 16 * usize::from(count) && position < bytes.len()
}

/// Whether the first element of a text is `svg`, behind a declaration and comments.
fn is_svg(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(4096)];
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let is_markup = [&b"<svg"[..], b"<?xml", b"<!--", b"<!DOCTYPE svg"].iter().any(|first| text.starts_with(first));
    is_markup && text.windows(4).any(|four| four == b"<svg")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> Option<&'static str> {
        detect(bytes).map(|format| format.name)
    }

    #[test]
    fn formats_are_recognised_by_their_first_bytes() {
        let icon = [&b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0\x68\x04\0\0\x16\0\0\0"[..], &[0; 40]].concat();
        for (bytes, expected) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "a HEIC image"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC image"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "an AVIF image"),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "an AVIF image"),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "a raw camera file"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video (MP4 or QuickTime)"),
            (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "a video (MP4 or QuickTime)"),
            (b"RIFF\0\0\0\0AVI LIST", "a video (AVI)"),
            (b"\x1a\x45\xdf\xa3\x9f", "a video (Matroska or WebM)"),
            (b"\xff\x0a\xfa\x1f", "a JPEG XL image"),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"8BPS\0\x01", "a Photoshop document"),
            (b"II*\0\x10\0\0\0CR\x02\0", "a raw camera file"),
            (&icon, "an icon (ICO)"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a -->\n<svg>", "an SVG drawing"),
        ] {
            assert_eq!(name(bytes), Some(expected), "{bytes:?}");
        }
    }

    #[test]
    fn other_bytes_are_not_recognised() {
        let zeros = [0; 64];
        for bytes in
            [&b""[..], b"<html><svg>", b"<?xml version='1.0'?><p/>", b"\0\0\x01\0", &zeros, b"II*\0", b"\0\0\0\x18ftyp"]
        {
            assert_eq!(name(bytes), None, "{bytes:?}");
        }
    }
}
