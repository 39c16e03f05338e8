//! Filters and crops as they are typed.

use std::str::FromStr;

use crate::{Crop, Filter};

/// What may stand in a word's place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be {0}")]
pub struct UnknownWord(pub String);

impl FromStr for Filter {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "bilinear" => Ok(Self::Bilinear),
            "bicubic" => Ok(Self::Bicubic),
            "lanczos" => Ok(Self::Lanczos),
            _ => Err(UnknownWord("bilinear, bicubic or lanczos".to_string())),
        }
    }
}

impl Crop {
    /// `none`, or the central square as a part of the shorter side (`0.875`; `1` is all of it) or by its padding in pixels
    /// (`32`), for a network that takes pictures of that size.
    ///
    /// # Errors
    ///
    /// It is none of these.
    pub fn parse(text: &str, width: u32, height: u32) -> Result<Self, UnknownWord> {
        let unknown = || {
            let words = "none, a part of the shorter side such as 0.875, or a padding in pixels such as 32";
            UnknownWord(words.to_string())
        };
        if text == "none" {
            return Ok(Self::None);
        }
        // 1 is meant as the whole more often than as one pixel.
        if let Some(padding) = text.parse::<u16>().ok().filter(|padding| *padding != 1) {
            return Ok(Self::CentralPadded { padding: padding.into() });
        }
        let part: f64 = text.parse().map_err(|_| unknown())?;
        if !(0.05..=1.0).contains(&part) {
            return Err(unknown());
        }
        Ok(central(part, width, height))
    }
}

/// The central square of `part` of the shorter side: `size / (size + padding) = part`, where the picture that the square is cut
/// from has whole pixels, rounded down as in timm's `transforms_factory.py`.
pub(super) fn central(part: f64, width: u32, height: u32) -> Crop {
    /// So that 224 / (224 / 232) is 232.
    const ROUNDING: f64 = 1e-9;
    let size = width.min(height);
    let scaled = (f64::from(size) / part + ROUNDING).floor() as u32;
    Crop::CentralPadded { padding: scaled.saturating_sub(size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_is_a_word_a_part_or_pixels() {
        let crop = |text: &str| Crop::parse(text, 224, 320).ok();
        assert_eq!(crop("none"), Some(Crop::None));
        assert_eq!(crop("0.875"), Some(Crop::CentralPadded { padding: 32 }));
        assert_eq!(crop("32"), Some(Crop::CentralPadded { padding: 32 }));
        // 224 / 0.9 is 248.9.
        assert_eq!(crop("0.9"), Some(Crop::CentralPadded { padding: 24 }));
        for whole in ["1.0", "1", "0"] {
            assert_eq!(crop(whole), Some(Crop::CentralPadded { padding: 0 }), "{whole}");
        }
        for wrong in ["", "all", "-1", "1.5", "NaN", "0.0", "70000"] {
            assert_eq!(crop(wrong), None, "{wrong}");
        }
    }
}
