//! Picture formats, told apart by their first bytes and named by their extensions.

use std::fmt;
use std::str::FromStr;

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
    const ALL: [Self; 6] = [Self::Png, Self::Jpeg, Self::Gif, Self::Webp, Self::Bmp, Self::Tiff];

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
        } else if starts(b"BM") {
            Some(Self::Bmp)
        } else if starts(b"II*\0") || starts(b"MM\0*") {
            Some(Self::Tiff)
        } else {
            None
        }
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

/// A set of formats. Reads and shows as extensions with commas: `png,jpg,jpeg,gif`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FormatSet(u8);

impl FormatSet {
    /// Whether `format` is in the set.
    pub fn contains(self, format: Format) -> bool {
        self.0 & (1 << format as u8) != 0
    }

    /// The formats of the set.
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

/// An extension that is not that of any picture format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a picture format; there are png, jpg, jpeg, gif, webp, bmp, tiff")]
pub struct UnknownFormatName(String);

impl FromStr for FormatSet {
    type Err = UnknownFormatName;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut set = Self(0);
        for name in list.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            let named = Format::ALL.into_iter().find(|format| format.extensions().contains(&name.as_str()));
            set.0 |= 1 << named.ok_or(UnknownFormatName(name))? as u8;
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
