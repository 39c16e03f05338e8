//! Preprocessing of a model: resize filter, crop and normalisation, as a manifest or a command line gives them.

use std::str::FromStr;

use serde::Deserialize;

/// How a photo becomes the input of the network.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Filter of the resize.
    pub filter: Filter,
    /// Region of the photo that is resized.
    pub crop: Crop,
    /// Mean of red, green and blue, in units of 0..=255.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, in units of 0..=255.
    pub std: [f32; 3],
}

/// Filter of the antialiased resize, by Pillow's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Triangle.
    Bilinear,
    /// Catmull-Rom (a = -0.5).
    Bicubic,
    /// Lanczos, three lobes.
    Lanczos,
}

/// Region of the photo that is resized to the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "ManifestCrop")]
pub enum Crop {
    /// The whole photo, stretched to the input's size.
    None,
    /// The central square of side `min(h, w) * size / (size + padding)`.
    CentralPadded {
        /// Padding in pixels at the scale of the network's input.
        padding: u32,
    },
}

/// A crop as a manifest writes it: `"none"` or `{ central-padded = N }`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ManifestCrop {
    None,
    CentralPadded(u32),
}

/// A value that is not in the allowed set; holds a description of that set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be {0}")]
pub struct InvalidValue(pub String);

impl Filter {
    /// The filter's name in manifests and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }
}

impl FromStr for Filter {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let all = [Self::Bilinear, Self::Bicubic, Self::Lanczos];
        let found = all.into_iter().find(|filter| filter.as_str() == text);
        found.ok_or_else(|| InvalidValue("bilinear, bicubic or lanczos".to_string()))
    }
}

impl From<ManifestCrop> for Crop {
    fn from(crop: ManifestCrop) -> Self {
        match crop {
            ManifestCrop::None => Self::None,
            ManifestCrop::CentralPadded(padding) => Self::CentralPadded { padding },
        }
    }
}

impl Crop {
    /// Parses `none`, a fraction of the shorter side (`0.875`; `1` is all of it) or a padding in pixels (`32`), for a network
    /// whose input has this width and height.
    ///
    /// # Errors
    ///
    /// The text is none of these, or the fraction is not in `0.05..=1`.
    pub fn parse(text: &str, width: u32, height: u32) -> Result<Self, InvalidValue> {
        let invalid = || {
            let allowed = "none, a part of the shorter side such as 0.875, or a padding in pixels such as 32";
            InvalidValue(allowed.to_string())
        };
        if text == "none" {
            return Ok(Self::None);
        }
        // "1" means the whole shorter side, not a padding of one pixel.
        if let Some(padding) = text.parse::<u16>().ok().filter(|padding| *padding != 1) {
            return Ok(Self::CentralPadded { padding: padding.into() });
        }
        let fraction: f64 = text.parse().map_err(|_| invalid())?;
        if !(0.05..=1.0).contains(&fraction) {
            return Err(invalid());
        }
        Ok(Self::central_fraction(fraction, width, height))
    }

    /// The central square with this fraction of the shorter side: `size / (size + padding) = fraction`. `size + padding` is
    /// rounded down to whole pixels, as in timm's `transforms_factory.py`.
    pub fn central_fraction(fraction: f64, width: u32, height: u32) -> Self {
        /// Makes 224 / (224 / 232) come out as 232.
        const ROUNDING: f64 = 1e-9;
        let size = width.min(height);
        let scaled = (f64::from(size) / fraction + ROUNDING).floor() as u32;
        Self::CentralPadded { padding: scaled.saturating_sub(size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crop_parses_none_fractions_and_pixels() {
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

    #[test]
    fn manifest_syntax_of_crop_is_none_or_central_padded() {
        #[derive(Deserialize)]
        struct Row {
            crop: Crop,
        }
        let crop = |text: &str| toml::from_str::<Row>(text).map(|row| row.crop);
        assert_eq!(crop("crop = \"none\"").unwrap(), Crop::None);
        assert_eq!(crop("crop = { central-padded = 32 }").unwrap(), Crop::CentralPadded { padding: 32 });
        assert!(crop("crop = \"all\"").unwrap_err().to_string().contains("unknown variant `all`"));
    }
}
