//! How well-known training code prepares its pictures, as values of a manifest.

use std::str::FromStr;

use super::words::{UnknownWord, central};
use crate::{Crop, Filter};

/// How a photo becomes the network's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocess {
    /// Filter of the resize.
    pub filter: Filter,
    /// Which part is kept.
    pub crop: Crop,
    /// Mean of red, green and blue, in units of 0..=255.
    pub mean: [f32; 3],
    /// Deviation of red, green and blue, in units of 0..=255.
    pub std: [f32; 3],
}

/// What a kind of training code does.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name on the command line.
    pub name: &'static str,
    /// Whose it is, and what.
    pub about: &'static str,
    filter: Filter,
    kept: Kept,
    mean: [f32; 3],
    std: [f32; 3],
}

/// What is kept of a photo, at any size of the network's input.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Whole,
    /// The central square, as a part of the shorter side.
    Part(f64),
    /// The central square, by its padding in pixels.
    Padding(u32),
}

/// Mean and deviation of ImageNet's pictures, as given for 0..1: 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225.
const IMAGENET: ([f32; 3], [f32; 3]) = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]);
/// From 0..255 to -1..1.
const SIGNED: ([f32; 3], [f32; 3]) = ([127.5; 3], [127.5; 3]);

/// All presets, the most common first. The values are those of torchvision's `transforms/_presets.py`, timm's `data/constants.py`
/// and `default_cfg`s (which may name another `crop_pct`), and TensorFlow's `inception_preprocessing.py` and
/// `efficientnet/preprocessing.py`. The former cuts 0.875 of both sides out and stretches that to a square; `tflite` cuts a square,
/// which is the same for square pictures alone.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "torchvision",
        about: "torchvision: bilinear, 256 -> 224, ImageNet's mean and std",
        filter: Filter::Bilinear,
        kept: Kept::Part(224.0 / 256.0),
        mean: IMAGENET.0,
        std: IMAGENET.1,
    },
    Preset {
        name: "torchvision-v2",
        about: "the same for its IMAGENET1K_V2 weights: 232 -> 224",
        filter: Filter::Bilinear,
        kept: Kept::Part(224.0 / 232.0),
        mean: IMAGENET.0,
        std: IMAGENET.1,
    },
    Preset {
        name: "timm",
        about: "timm's default: bicubic, crop_pct 0.875, ImageNet's mean and std",
        filter: Filter::Bicubic,
        kept: Kept::Part(0.875),
        mean: IMAGENET.0,
        std: IMAGENET.1,
    },
    Preset {
        name: "inception",
        about: "timm's models with mean and std 0.5: bicubic, crop_pct 0.875",
        filter: Filter::Bicubic,
        kept: Kept::Part(0.875),
        mean: SIGNED.0,
        std: SIGNED.1,
    },
    Preset {
        name: "vit",
        about: "timm's vision transformers (augreg): bicubic, crop_pct 0.9, -1..1",
        filter: Filter::Bicubic,
        kept: Kept::Part(0.9),
        mean: SIGNED.0,
        std: SIGNED.1,
    },
    Preset {
        name: "tflite",
        about: "near TensorFlow's MobileNets: bilinear, 0.875 of the shorter side, -1..1",
        filter: Filter::Bilinear,
        kept: Kept::Part(0.875),
        mean: SIGNED.0,
        std: SIGNED.1,
    },
    Preset {
        name: "efficientnet-lite",
        about: "TensorFlow's: bicubic, size / (size + 32), mean 127, std 128",
        filter: Filter::Bicubic,
        kept: Kept::Padding(32),
        mean: [127.0; 3],
        std: [128.0; 3],
    },
    Preset {
        name: "plain",
        about: "the whole picture, stretched, bilinear, 0..1",
        filter: Filter::Bilinear,
        kept: Kept::Whole,
        mean: [0.0; 3],
        std: [255.0; 3],
    },
];

impl Preset {
    /// Its values for a network that takes pictures of that size: padding is in pixels there.
    pub fn values(&self, width: u32, height: u32) -> Preprocess {
        let Self { filter, kept, mean, std, .. } = *self;
        let crop = match kept {
            Kept::Whole => Crop::None,
            Kept::Part(part) => central(part, width, height),
            Kept::Padding(padding) => Crop::CentralPadded { padding },
        };
        Preprocess { filter, crop, mean, std }
    }
}

impl FromStr for &'static Preset {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        PRESETS.iter().find(|preset| preset.name == text).ok_or_else(|| UnknownWord(names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padding(name: &str, size: u32) -> Crop {
        name.parse::<&Preset>().unwrap().values(size, size).crop
    }

    #[test]
    fn a_preset_has_the_padding_of_its_training_code_at_every_size() {
        assert_eq!(padding("torchvision", 224), Crop::CentralPadded { padding: 32 });
        assert_eq!(padding("torchvision-v2", 224), Crop::CentralPadded { padding: 8 });
        assert_eq!(padding("efficientnet-lite", 240), Crop::CentralPadded { padding: 32 });
        // timm resizes to floor(299 / 0.875) = 341 before it takes the central 299, and to floor(224 / 0.9) = 248.
        assert_eq!(padding("inception", 299), Crop::CentralPadded { padding: 42 });
        assert_eq!(padding("vit", 224), Crop::CentralPadded { padding: 24 });
        assert_eq!(padding("plain", 224), Crop::None);
        let unknown = "pytorch".parse::<&Preset>().unwrap_err().to_string();
        assert!(unknown.contains("torchvision") && unknown.contains("timm"), "{unknown}");
    }
}
