//! Finds how a photo becomes the network's input: from the manifest, a preset, or the files of Hugging Face and timm.

use model_import::Crop;
use model_import::import::{PRESETS, Preprocess, Preset};
use serde_json::Value;

use super::error::ModelFileError;
use super::labels::MAX_JSON_BYTES;
use super::location::Location;
use super::manifest::validate_preprocess;
use super::{hugging_face, timm};
use crate::model::onnx_model::{InputInfo, Takes};

/// The preprocessing and its origin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundPreprocess {
    pub(super) values: Preprocess,
    /// The origin, as `kiln inspect` prints it.
    pub(super) origin: String,
    /// What was assumed, and what it costs.
    pub(super) warnings: Vec<String>,
}

/// Finds the preprocessing of a network with this input. The files are read in this order: `model.toml`, `--preset`,
/// `preprocessor_config.json`, `config.json`. Without any, it is the first preset's, with a warning.
pub(super) fn find(
    location: &Location,
    input: &InputInfo,
    preset: Option<&Preset>,
) -> Result<FoundPreprocess, ModelFileError> {
    if let Some((path, values)) = in_manifest(location) {
        // The manifest is written for this file, so its values replace even those of the graph.
        return Ok(FoundPreprocess { values, origin: path, warnings: Vec::new() });
    }
    let (mut values, origin, mut warnings) = if let Some(preset) = preset {
        (preset.values(input.width as u32, input.height as u32), format!("the preset '{}'", preset.name), Vec::new())
    } else if let Some(found) = in_json(location, input)? {
        found
    } else {
        default(location, input)
    };
    // The network normalises its input itself, or takes pixels without normalisation.
    match input.takes {
        Takes::Normalised => {}
        Takes::Pixels => (values.mean, values.std) = ([0.0; 3], [1.0; 3]),
        Takes::UnitRange => (values.mean, values.std) = ([0.0; 3], [255.0; 3]),
    }
    if values.crop == Crop::None {
        warnings.extend(distortion(input));
    }
    Ok(FoundPreprocess { values, origin, warnings })
}

fn in_manifest(location: &Location) -> Option<(String, Preprocess)> {
    let (path, manifest) = location.manifest.as_ref()?;
    Some((path.display().to_string(), manifest.preprocess?))
}

type Found = (Preprocess, String, Vec<String>);

fn in_json(location: &Location, input: &InputInfo) -> Result<Option<Found>, ModelFileError> {
    type Parse = fn(&Value, &InputInfo) -> Result<Option<(Preprocess, Vec<String>)>, String>;
    let sources: [(&str, Parse); 2] = [("preprocessor_config.json", hugging_face::parse), ("config.json", timm::parse)];
    for (name, parse) in sources {
        let Some((path, bytes)) = location.read_first(&[name], MAX_JSON_BYTES)? else { continue };
        let invalid = |reason: String| ModelFileError::invalid(&path, reason);
        let json: Value = serde_json::from_slice(&bytes).map_err(|e| invalid(format!("it is not valid JSON: {e}")))?;
        if let Some((values, warnings)) = parse(&json, input).map_err(invalid)? {
            validate_preprocess(&values).map_err(invalid)?;
            return Ok(Some((values, path.display().to_string(), warnings)));
        }
    }
    Ok(None)
}

fn default(location: &Location, input: &InputInfo) -> Found {
    let values = PRESETS[0].values(input.width as u32, input.height as u32);
    let file = location.onnx.file_name().unwrap_or_default().to_string_lossy();
    let warning = match input.takes {
        Takes::Normalised => format!(
            "no preprocessing was found beside {file}; ImageNet's mean and standard deviation are assumed. If the network was \
             trained otherwise, its accuracy drops; add a model.toml or use --preset"
        ),
        Takes::Pixels | Takes::UnitRange => format!(
            "no preprocessing was found beside {file}; the central 87.5 % of each photo is assumed. If the network was trained \
             otherwise, its accuracy drops; add a model.toml or use --preset"
        ),
    };
    (values, "the default, torchvision's".to_string(), vec![warning])
}

/// Returns a warning if the whole photo is stretched to an input that is not square.
fn distortion(input: &InputInfo) -> Option<String> {
    (input.width != input.height).then(|| format!("photos are stretched to {}x{}", input.width, input.height))
}
