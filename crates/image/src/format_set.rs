//! A set of picture formats, written as a list of extensions.

use std::fmt;
use std::str::FromStr;

use super::format::Format;

/// A set of formats. Reads and shows as extensions with commas: `png,jpg,jpeg,gif`. A format has all its extensions
/// or none: `jpg` alone is `jpg,jpeg`.
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
    fn a_set_reads_and_shows_extensions() {
        assert_eq!(FormatSet::default().to_string(), "png,jpg,jpeg,gif");
        assert_eq!("gif, JPG,png,gif".parse(), Ok(FormatSet::default()));
        let all: FormatSet = "webp,bmp,tif,png,jpeg,gif".parse().unwrap();
        assert_eq!(all.to_string(), "png,jpg,jpeg,gif,webp,bmp,tiff,tif");
        for unknown in ["", "png,", "png,svg", ".png"] {
            assert!(unknown.parse::<FormatSet>().is_err(), "{unknown:?}");
        }
    }
}
