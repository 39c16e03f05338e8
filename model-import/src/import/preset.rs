//! The preprocessing of well-known training code, as values of a manifest.

use std::str::FromStr;

use kiln_graph::{Crop, Filter, InvalidValue, Preprocess};

/// The preprocessing of one kind of training code.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// The training code, and its values.
    pub about: &'static str,
    filter: Filter,
    region: Region,
    mean: [f32; 3],
    std: [f32; 3],
}

/// The region of a photo that is resized, for any size of the network's input.
#[derive(Clone, Copy, Debug)]
enum Region {
    Whole,
    /// The central square, as a fraction of the shorter side.
    Fraction(f64),
    /// The central square, by its padding in pixels.
    Padding(u32),
}

/// Mean and standard deviation of ImageNet. The published values are for 0..1: 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225.
const IMAGENET: ([f32; 3], [f32; 3]) = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]);
/// From 0..255 to -1..1.
const SIGNED: ([f32; 3], [f32; 3]) = ([127.5; 3], [127.5; 3]);

/// All presets, the most common first. The values are those of torchvision's `transforms/_presets.py`, timm's `data/constants.py`
/// and `default_cfg`s (which may name another `crop_pct`), and TensorFlow's `inception_preprocessing.py` and
/// `efficientnet/preprocessing.py`. The former crops 0.875 of both sides and stretches the result to a square; `tflite`
/// crops a square, which is the same only for square images.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "torchvision",
        about: "torchvision: bilinear, 256 -> 224, ImageNet's mean and std",
        filter: Filter::Bilinear,
        region: Region::Fraction(224.0 / 256.0),
        mean: IMAGENET.0,
        std: IMAGENET.1,
    },
    Preset {
        name: "torchvision-v2",
        about: "the same for its IMAGENET1K_V2 weights: 232 -> 224",
        filter: Filter::Bilinear,
        region: Region::Fraction(224.0 / 232.0),
        mean: IMAGENET.0,
        std: IMAGENET.1,
    },
    Preset {
        name: "timm",
        about: "timm's default: bicubic, crop_pct 0.875, ImageNet's mean and std",
        filter: Filter::Bicubic,
        region: Region::Fraction(0.875),
        mean: IMAGENET.0,
        std: IMAGENET.1,
    },
    Preset {
        name: "inception",
        about: "timm's models with mean and std 0.5: bicubic, crop_pct 0.875",
        filter: Filter::Bicubic,
        region: Region::Fraction(0.875),
        mean: SIGNED.0,
        std: SIGNED.1,
    },
    Preset {
        name: "vit",
        about: "timm's vision transformers (augreg): bicubic, crop_pct 0.9, -1..1",
        filter: Filter::Bicubic,
        region: Region::Fraction(0.9),
        mean: SIGNED.0,
        std: SIGNED.1,
    },
    Preset {
        name: "tflite",
        about: "near TensorFlow's MobileNets: bilinear, 0.875 of the shorter side, -1..1",
        filter: Filter::Bilinear,
        region: Region::Fraction(0.875),
        mean: SIGNED.0,
        std: SIGNED.1,
    },
    Preset {
        name: "efficientnet-lite",
        about: "TensorFlow's: bicubic, size / (size + 32), mean 127, std 128",
        filter: Filter::Bicubic,
        region: Region::Padding(32),
        mean: [127.0; 3],
        std: [128.0; 3],
    },
    Preset {
        name: "plain",
        about: "the whole image, stretched, bilinear, 0..1",
        filter: Filter::Bilinear,
        region: Region::Whole,
        mean: [0.0; 3],
        std: [255.0; 3],
    },
];

impl Preset {
    /// The values for a network with this input size. The padding of a crop is in pixels at that size.
    pub fn values(&self, width: u32, height: u32) -> Preprocess {
        let Self { filter, region, mean, std, .. } = *self;
        let crop = match region {
            Region::Whole => Crop::None,
            Region::Fraction(fraction) => Crop::central_fraction(fraction, width, height),
            Region::Padding(padding) => Crop::CentralPadded { padding },
        };
        Preprocess { filter, crop, mean, std }
    }
}

impl FromStr for &'static Preset {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        PRESETS.iter().find(|preset| preset.name == text).ok_or_else(|| InvalidValue(names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padding(name: &str, size: u32) -> Crop {
        name.parse::<&Preset>().unwrap().values(size, size).crop
    }

    #[test]
    fn preset_has_the_padding_of_its_training_code_at_every_size() {
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
