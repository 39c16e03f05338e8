//! The request of `kiln import`: its arguments as plain data, and the parsers of their values.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use model_import::Filter;
use model_import::import::Preset;

/// The arguments of one import. An absent value has a default or is prompted for on a terminal.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// The ONNX file.
    pub onnx: PathBuf,
    /// Width and height of the images in pixels, for a network with a dynamic input size.
    pub size: Option<[u32; 2]>,
    /// The model's name.
    pub name: Option<String>,
    /// The version.
    pub version: Option<String>,
    /// Description, one sentence.
    pub description: Option<String>,
    /// Source of the weights.
    pub source: Option<String>,
    /// SPDX name of the licence of the weights.
    pub licence: Option<String>,
    /// Source of the class names.
    pub labels: Option<LabelSource>,
    /// Preset of the preprocessing.
    pub preset: Option<&'static Preset>,
    /// Resize filter, instead of the preset's.
    pub filter: Option<Filter>,
    /// Crop, instead of the preset's. It is text, because its meaning depends on the network's input size.
    pub crop: Option<String>,
    /// Mean, instead of the preset's, in units of 0..255.
    pub mean: Option<[f32; 3]>,
    /// Standard deviation, instead of the preset's, in units of 0..255.
    pub std: Option<[f32; 3]>,
    /// File with the reference logits of the synthetic image.
    pub logits: Option<PathBuf>,
    /// The folder to create.
    pub out: Option<PathBuf>,
    /// Whether to replace an existing model.
    pub replace: bool,
    /// Whether to build the program and check the model in it. The default is to check if there are reference logits.
    pub verify: Option<bool>,
}

impl ImportRequest {
    /// Returns whether the request has every value without a default, so that nothing is prompted for.
    pub(super) fn is_complete(&self) -> bool {
        self.labels.is_some() && self.has_preprocess()
    }

    /// Returns whether the request defines the preprocessing.
    pub(super) fn has_preprocess(&self) -> bool {
        let all = self.filter.is_some() && self.crop.is_some() && self.mean.is_some() && self.std.is_some();
        self.preset.is_some() || all
    }
}

/// The source of the class names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelSource {
    /// A file with one name a line.
    File(PathBuf),
    /// The ImageNet names of the built-in model.
    ImageNet,
    /// Generated names: `class_0`, `class_1` and so on.
    Numbers,
}

impl FromStr for LabelSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "imagenet" => Self::ImageNet,
            "numbers" => Self::Numbers,
            path => Self::File(path.into()),
        })
    }
}

/// Parses a size such as `224x160`: width, then height, in pixels.
///
/// # Errors
///
/// The text is no such size. The error states the expected form.
pub fn parse_size(text: &str) -> Result<[u32; 2], String> {
    let side = |text: &str| text.parse::<u16>().ok().filter(|side| *side > 0).map(u32::from);
    let sides = text.split_once('x').and_then(|(width, height)| Some([side(width)?, side(height)?]));
    sides.ok_or_else(|| "it must be WIDTHxHEIGHT in pixels, such as 224x224".to_string())
}

/// Parses a value for each channel, such as `123.7,116.3,103.5`: red, green and blue, in units of 0..255. A single
/// number applies to all three.
///
/// # Errors
///
/// The text has another form, or the numbers are in units of 0..1.
pub fn parse_channels(text: &str) -> Result<[f32; 3], String> {
    let numbers = text.split(',').map(|number| number.trim().parse().ok().filter(|value: &f32| value.is_finite()));
    let channels = match numbers.collect::<Option<Vec<f32>>>().as_deref() {
        Some(&[all]) => [all; 3],
        Some(&[red, green, blue]) => [red, green, blue],
        _ => return Err("it must be three numbers for red, green and blue with commas, in units of 0..255".to_string()),
    };
    // ImageNet's mean is often given as 0.485,0.456,0.406.
    if channels.iter().all(|value| *value > 0.0 && *value <= 1.0) {
        let [r, g, b] = channels.map(|value| value * 255.0);
        return Err(format!("it must be in units of 0..255; if these are in units of 0..1, give {r},{g},{b}"));
    }
    Ok(channels)
}

/// Parses standard deviations as [`parse_channels`] does. Each must be above 0, because pixels are divided by it.
///
/// # Errors
///
/// See [`parse_channels`]; or a number is not above 0.
pub fn parse_deviations(text: &str) -> Result<[f32; 3], String> {
    let channels = parse_channels(text)?;
    if channels.iter().any(|value| *value <= 0.0) {
        return Err("each must be above 0, since pixels are divided by it".to_string());
    }
    Ok(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_width_then_height() {
        assert_eq!(parse_size("320x240"), Ok([320, 240]));
        for wrong in ["", "224", "224x", "0x5", "224x224x3", "-1x2", "70000x1"] {
            assert!(parse_size(wrong).unwrap_err().contains("such as 224x224"), "{wrong}");
        }
    }

    #[test]
    fn channels_are_three_numbers_or_one_in_units_of_255() {
        assert_eq!(parse_channels("123.675, 116.28,103.53"), Ok([123.675, 116.28, 103.53]));
        assert_eq!(parse_channels("0"), Ok([0.0; 3]));
        assert_eq!(parse_deviations("255"), Ok([255.0; 3]));
        assert!(parse_channels("1,2").is_err() && parse_channels("a,b,c").is_err() && parse_channels("NaN").is_err());
        assert!(parse_deviations("0,1,2").is_err());
        let message = parse_channels("0.485,0.456,0.406").unwrap_err();
        assert!(message.contains("give 123.67") && message.contains("116.28"), "{message}");
    }
}
