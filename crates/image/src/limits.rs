//! Which pictures are accepted at all.

use super::budget::{DecodeBudget, Held};
use super::error::ImageError;
use super::format::Format;
use super::format_set::FormatSet;

/// What is accepted.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most pixels that are decoded, by the header.
    pub max_pixels: u64,
    /// The formats.
    pub formats: FormatSet,
    /// Bytes of all decoded pictures together.
    pub decoded: DecodeBudget,
}

/// 50 megapixels of PNG, JPEG or GIF, 512 MiB of them together.
impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 50_000_000, formats: FormatSet::default(), decoded: DecodeBudget::new(512 << 20) }
    }
}

/// The longest side, which is JPEG's own bound. The resize needs memory for the length of a side, whatever the
/// other one is, so a strip of few pixels could still be costly.
const MAX_SIDE: u32 = 65_535;

impl Limits {
    /// Waits until there is room for so many decoded bytes.
    pub(super) fn hold(&self, format: Format, bytes: u64) -> Result<Held, ImageError> {
        self.decoded.hold(bytes).map_err(|limit| ImageError::TooManyBytes { format, bytes, limit })
    }

    /// Judges a header.
    pub(super) fn check_size(&self, format: Format, width: u32, height: u32) -> Result<(), ImageError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(ImageError::TooManyPixels { width, height, limit: self.max_pixels });
        }
        let undecodable = |reason: String| Err(ImageError::Undecodable { format, reason });
        if width == 0 || height == 0 {
            return undecodable("it has no pixels".to_string());
        }
        if width.max(height) > MAX_SIDE {
            return undecodable(format!("it is {width}x{height}, and sides end at {MAX_SIDE} pixels"));
        }
        Ok(())
    }
}
