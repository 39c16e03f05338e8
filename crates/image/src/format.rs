//! Image formats: detection by the first bytes, file extensions, and sets of formats.

use std::fmt;
use std::str::FromStr;

/// An image format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG, baseline or progressive.
    Jpeg,
    /// GIF; of an animation, the first frame.
    Gif,
    /// WebP, lossy or lossless; of an animation, the first frame.
    Webp,
    /// Windows bitmap.
    Bmp,
    /// TIFF; the first image of the file.
    Tiff,
}

impl Format {
    const ALL: [Self; 6] = [Self::Png, Self::Jpeg, Self::Gif, Self::Webp, Self::Bmp, Self::Tiff];

    /// Detects the format by the first bytes (magic number).
    pub(super) fn detect(bytes: &[u8]) -> Option<Self> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if starts(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Some(Self::Gif)
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else if starts(b"BM") && (bytes.get(6..10) == Some(&[0; 4]) || has_bitmap_header(bytes)) {
            // A text may begin with the same two letters. The reserved bytes after the file's length are zero in most files.
            Some(Self::Bmp)
        } else if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0") || starts(b"MM\0+") {
            Some(Self::Tiff)
        } else {
            None
        }
    }

    /// Returns the format whose files have this extension, in lower or upper case and without a dot.
    pub fn from_extension(extension: &str) -> Option<Self> {
        let matches = |format: &Self| format.extensions().iter().any(|known| known.eq_ignore_ascii_case(extension));
        Self::ALL.into_iter().find(matches)
    }

    /// Returns the most common extension of this format, in lower case and without a dot.
    pub fn extension(self) -> &'static str {
        self.extensions()[0]
    }

    /// Returns all extensions of this format, in lower case and without a dot.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Png => &["png"],
            Self::Jpeg => &["jpg", "jpeg"],
            Self::Gif => &["gif"],
            Self::Webp => &["webp"],
            Self::Bmp => &["bmp"],
            Self::Tiff => &["tiff", "tif"],
        }
    }
}

/// Whether the length of a BMP's second header is one of those in use: OS/2, Windows, and its extensions.
fn has_bitmap_header(bytes: &[u8]) -> bool {
    let length =
        bytes.get(14..18).map(|length| length.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)));
    length.is_some_and(|length| matches!(length, 12 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// Shows the format's usual name in lower case: `jpeg`, `png`.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "jpeg",
            other => other.extensions()[0],
        })
    }
}

/// A set of formats. Its text form is a comma-separated list of extensions: `png,jpg,jpeg,gif`. A format has all its
/// extensions or none: `jpg` alone means `jpg,jpeg`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FormatSet(u8);

impl FormatSet {
    /// Returns true if `format` is in the set.
    pub fn contains(self, format: Format) -> bool {
        self.0 & (1 << format as u8) != 0
    }

    /// Iterates over the formats of the set.
    pub fn iter(self) -> impl Iterator<Item = Format> {
        Format::ALL.into_iter().filter(move |format| self.contains(*format))
    }
}

/// PNG, JPEG and GIF.
impl Default for FormatSet {
    fn default() -> Self {
        Self(1 << Format::Png as u8 | 1 << Format::Jpeg as u8 | 1 << Format::Gif as u8)
    }
}

/// An extension of no known image format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown image format '{0}'; known formats are png, jpg, jpeg, gif, webp, bmp, tiff")]
pub struct UnknownFormatName(String);

impl FromStr for FormatSet {
    type Err = UnknownFormatName;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut set = Self(0);
        for name in list.split(',').map(str::trim) {
            let format = Format::from_extension(name).ok_or_else(|| UnknownFormatName(name.to_string()))?;
            set.0 |= 1 << format as u8;
        }
        Ok(set)
    }
}

impl fmt::Display for FormatSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extensions: Vec<&str> = self.iter().flat_map(Format::extensions).copied().collect();
        f.write_str(&extensions.join(","))
    }
}

impl fmt::Debug for FormatSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FormatSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detect_matches_complete_magic_numbers_only() {
        let files: [(&[u8], Format); 9] = [
            (b"\x89PNG\r\n\x1a\n", Format::Png),
            (b"\xff\xd8\xff\xe0", Format::Jpeg),
            (b"GIF87a", Format::Gif),
            (b"GIF89a", Format::Gif),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Format::Webp),
            (b"BM\x36\x10\0\0\0\0\0\0", Format::Bmp),
            (b"II*\0", Format::Tiff),
            (b"MM\0*", Format::Tiff),
            (b"II+\0", Format::Tiff),
        ];
        for (bytes, format) in files {
            assert_eq!(Format::detect(bytes), Some(format));
            assert_eq!(Format::detect(&bytes[..3.min(bytes.len() - 1)]), (format == Format::Jpeg).then_some(format));
        }
        for other in [&b"RIFF\x10\0\0\0WAVEfmt "[..], b"BMW makes cars", b"%PDF-1.7", b"\xff\xd8", b"<svg>", &[0; 64]] {
            assert_eq!(Format::detect(other), None, "{other:?}");
        }
        // Some programs write into the reserved bytes.
        assert_eq!(Format::detect(b"BM\x36\x10\0\0abcd\x36\0\0\0\x28\0\0\0"), Some(Format::Bmp));
    }

    #[test]
    fn format_set_parses_and_displays_extensions() {
        assert_eq!(FormatSet::default().to_string(), "png,jpg,jpeg,gif");
        assert_eq!("gif, JPG,png,gif".parse(), Ok(FormatSet::default()));
        let all: FormatSet = "webp,bmp,tif,png,jpeg,gif".parse().unwrap();
        assert_eq!(all.to_string(), "png,jpg,jpeg,gif,webp,bmp,tiff,tif");
        for unknown in ["", "png,", "png,svg", ".png"] {
            assert!(unknown.parse::<FormatSet>().is_err(), "{unknown:?}");
        }
    }
}
