//! Picture formats, told apart by their first bytes and named by their extensions.

use std::fmt;

use super::error::ImageError;
use super::limits::Limits;

/// A picture format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG, baseline or progressive.
    Jpeg,
    /// GIF; of an animation the first frame.
    Gif,
    /// WebP, lossy or lossless; of an animation the first frame.
    Webp,
    /// Windows bitmap.
    Bmp,
    /// TIFF; the first picture.
    Tiff,
}

impl Format {
    pub(super) const ALL: [Self; 6] = [Self::Png, Self::Jpeg, Self::Gif, Self::Webp, Self::Bmp, Self::Tiff];

    /// The format that the first bytes tell, if `limits` accepts it.
    pub(super) fn sniff(bytes: &[u8], limits: &Limits) -> Result<Self, ImageError> {
        if bytes.is_empty() {
            return Err(ImageError::Empty);
        }
        let accepted = limits.formats;
        let format = Self::by_magic(bytes).ok_or(ImageError::UnknownFormat { accepted })?;
        if accepted.contains(format) { Ok(format) } else { Err(ImageError::FormatNotAccepted { format, accepted }) }
    }

    fn by_magic(bytes: &[u8]) -> Option<Self> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if starts(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Some(Self::Gif)
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else if starts(b"BM") && bytes.get(6..10) == Some(&[0; 4]) {
            // Two letters alone may begin a text; the reserved bytes behind the file's length are zero.
            Some(Self::Bmp)
        } else if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0") || starts(b"MM\0+") {
            Some(Self::Tiff)
        } else {
            None
        }
    }

    /// The format whose files have this extension, in lower or upper case and without its dot.
    pub fn from_extension(extension: &str) -> Option<Self> {
        let known = |format: &Self| format.extensions().iter().any(|known| known.eq_ignore_ascii_case(extension));
        Self::ALL.into_iter().find(known)
    }

    /// The extension that files of this format mostly have, in lower case and without a dot.
    pub fn extension(self) -> &'static str {
        self.extensions()[0]
    }

    /// The extensions that files of this format have, in lower case.
    pub(super) fn extensions(self) -> &'static [&'static str] {
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

/// Shows the format's usual name in lower case: `jpeg`, `png`.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "jpeg",
            other => other.extensions()[0],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_each_format_and_nothing_else() {
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
            assert_eq!(Format::by_magic(bytes), Some(format));
            assert_eq!(Format::by_magic(&bytes[..3.min(bytes.len() - 1)]), (format == Format::Jpeg).then_some(format));
        }
        for other in [&b"RIFF\x10\0\0\0WAVEfmt "[..], b"BMW makes cars", b"%PDF-1.7", b"\xff\xd8", b"<svg>", &[0; 64]] {
            assert_eq!(Format::by_magic(other), None, "{other:?}");
        }
    }
}
