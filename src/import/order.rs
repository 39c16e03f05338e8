//! What was typed behind `kiln import`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use model_import::Filter;
use model_import::import::Preset;

/// An import as it was asked for. What is absent has a default, or is asked for on a terminal.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The ONNX file.
    pub onnx: PathBuf,
    /// Width and height of the pictures, for a network that leaves them open.
    pub size: Option<[u32; 2]>,
    /// The model's name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// One sentence for a person.
    pub description: Option<String>,
    /// Where the weights come from.
    pub source: Option<String>,
    /// SPDX name of their licence.
    pub licence: Option<String>,
    /// Names of the classes.
    pub labels: Option<Labels>,
    /// Whose preprocessing.
    pub preset: Option<&'static Preset>,
    /// Another filter than the preset's.
    pub filter: Option<Filter>,
    /// Another crop than the preset's: its meaning depends on the network's size.
    pub crop: Option<String>,
    /// Another mean than the preset's.
    pub mean: Option<[f32; 3]>,
    /// Another deviation than the preset's.
    pub std: Option<[f32; 3]>,
    /// A file with the right logits of the synthetic picture.
    pub logits: Option<PathBuf>,
    /// The folder to make.
    pub out: Option<PathBuf>,
    /// A model that is there already is replaced.
    pub replace: bool,
    /// Whether to build the program and check the model in it; by default where there are logits to check it by.
    pub verify: Option<bool>,
}

impl Order {
    /// Whether everything that has no default was told, so that nothing is asked.
    pub(super) fn is_complete(&self) -> bool {
        self.labels.is_some() && self.has_preprocess()
    }

    /// Whether it is told how to prepare pictures.
    pub(super) fn has_preprocess(&self) -> bool {
        let all = self.filter.is_some() && self.crop.is_some() && self.mean.is_some() && self.std.is_some();
        self.preset.is_some() || all
    }
}

/// Where the names of classes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// A file, one a line.
    File(PathBuf),
    /// ImageNet's, as the built-in model has them.
    ImageNet,
    /// Their numbers.
    Numbers,
}

impl FromStr for Labels {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "imagenet" => Self::ImageNet,
            "numbers" => Self::Numbers,
            path => Self::File(path.into()),
        })
    }
}
