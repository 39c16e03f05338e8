//! Finds the names of the classes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::ModelFileError;
use super::files;
use super::label_text;
use super::location::Location;
use crate::model::Model;
use crate::model::onnx_model::{OutputInfo, OutputKind};

/// Maximum size of a file of labels in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// Maximum size of a JSON file in bytes.
pub(super) const MAX_JSON_BYTES: u64 = 1 << 20;
/// Keys of an ONNX file's metadata, and of a `config.json`, that hold the names of the classes.
const KEYS: [&str; 5] = ["labels", "classes", "names", "id2label", "class_names"];
/// The built-in model with the names of ImageNet's classes.
const IMAGENET_MODEL: &str = "efficientnet-lite0";
const IMAGENET_CLASSES: usize = 1000;

/// The names of the classes and their origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) names: Vec<String>,
    /// The origin, as `kiln inspect` prints it.
    pub(super) origin: String,
    /// What was ignored or assumed.
    pub(super) warnings: Vec<String>,
}

/// Finds the names of the classes of `output`: in the file of the manifest, in a text file beside the model, in the file's
/// metadata, in `config.json`; or else ImageNet's names, or numbers. An embedding has no classes.
pub(super) fn find(
    location: &Location,
    output: &OutputInfo,
    metadata: &BTreeMap<String, String>,
) -> Result<Labels, ModelFileError> {
    let needed = match output.kind {
        OutputKind::Logits | OutputKind::MultiLabel => output.width,
        OutputKind::Binary => 2,
        OutputKind::Embedding => {
            let origin = "none: the output is an embedding".to_string();
            return Ok(Labels { names: Vec::new(), origin, warnings: Vec::new() });
        }
    };
    if let Some((origin, names)) = in_files(location)? {
        if names.len() != needed {
            let (given, output) = (names.len(), output.name.clone());
            return Err(ModelFileError::LabelCount { origin, given, needed, output });
        }
        return Ok(Labels { names, origin, warnings: Vec::new() });
    }
    let mut warnings = Vec::new();
    for (origin, names) in in_metadata(metadata).into_iter().chain(in_config(location)?) {
        if names.len() == needed {
            return Ok(Labels { names, origin, warnings });
        }
        // Other texts may have the same key, so another number is no error.
        warnings.push(format!("{origin} has {} names, not {needed}, and is ignored", names.len()));
    }
    let (names, origin) = fallback(output, needed);
    Ok(Labels { names, origin, warnings })
}

/// Reads the names from the manifest's file, or from a text file beside the model.
fn in_files(location: &Location) -> Result<Option<(String, Vec<String>)>, ModelFileError> {
    let found = match &location.manifest {
        Some((path, manifest)) if manifest.labels.is_some() => {
            let path = path.with_file_name(manifest.labels.as_deref().unwrap_or_default());
            match files::read_optional(&path, MAX_BYTES)? {
                Some(bytes) => Some((path, bytes)),
                None => return Err(ModelFileError::invalid(path, "model.toml names this file, which does not exist")),
            }
        }
        _ => {
            let stem = location.onnx.file_stem().unwrap_or_default().to_string_lossy();
            let own = format!("{stem}.labels.txt");
            location.read_first(&[own.as_str(), "labels.txt", "classes.txt"], MAX_BYTES)?
        }
    };
    let Some((path, bytes)) = found else { return Ok(None) };
    let text = files::text(&path, bytes)?;
    let names = label_text::lines(&text).map_err(|reason| ModelFileError::invalid(&path, reason))?;
    Ok(Some((path.display().to_string(), names)))
}

fn in_metadata(metadata: &BTreeMap<String, String>) -> Vec<(String, Vec<String>)> {
    let named =
        |key: &&str| Some((format!("the metadata '{key}' of the file"), label_text::collection(metadata.get(*key)?)?));
    KEYS.iter().filter_map(named).collect()
}

/// Reads the names from a `config.json` of Hugging Face's transformers (`id2label`) or of timm (`label_names`).
fn in_config(location: &Location) -> Result<Vec<(String, Vec<String>)>, ModelFileError> {
    let Some((path, bytes)) = location.read_first(&["config.json"], MAX_JSON_BYTES)? else { return Ok(Vec::new()) };
    let invalid = |error: serde_json::Error| ModelFileError::invalid(&path, format!("it is not valid JSON: {error}"));
    let config: Value = serde_json::from_slice(&bytes).map_err(invalid)?;
    let named = |key: &str| Some((format!("'{key}' in {}", path.display()), label_text::json(config.get(key)?)?));
    Ok(["id2label", "label_names"].into_iter().filter_map(named).collect())
}

fn fallback(output: &OutputInfo, needed: usize) -> (Vec<String>, String) {
    if output.kind == OutputKind::Binary {
        return (vec!["negative".to_string(), "positive".to_string()], "default names of two classes".to_string());
    }
    let imagenet = Model::named(IMAGENET_MODEL).filter(|model| model.spec().labels.len() == IMAGENET_CLASSES);
    if let Some(model) = imagenet.filter(|_| output.kind == OutputKind::Logits) {
        let names: Vec<String> = model.spec().labels.iter().map(ToString::to_string).collect();
        if needed == IMAGENET_CLASSES {
            return (names, "ImageNet's names, because there are 1000 classes".to_string());
        }
        if needed == IMAGENET_CLASSES + 1 {
            let names = std::iter::once("background".to_string()).chain(names).collect();
            return (names, "'background' and ImageNet's names, because there are 1001 classes".to_string());
        }
    }
    ((0..needed).map(|class| format!("class_{class}")).collect(), "numbers, because no names were found".to_string())
}
