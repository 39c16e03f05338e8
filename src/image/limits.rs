//! Which pictures are accepted at all.

use super::error::ImageError;
use super::format::FormatSet;

/// What is accepted.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most pixels that are decoded, by the header.
    pub max_pixels: u64,
    /// The formats.
    pub formats: FormatSet,
}

/// 50 megapixels of PNG, JPEG or GIF.
impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 50_000_000, formats: FormatSet::default() }
    }
}

impl Limits {
    /// Judges a header.
    pub(super) fn check_size(&self, width: u32, height: u32) -> Result<(), ImageError> {
        if u64::from(width) * u64::from(height) <= self.max_pixels {
            return Ok(());
        }
        Err(ImageError::TooManyPixels { width, height, limit: self.max_pixels })
    }
}
