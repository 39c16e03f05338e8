//! A model's folder: `models/<name>/model.toml` and the files that it names. Nothing here looks inside the ONNX file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::digest::sha256_hex;
use crate::error::ModelError;
use crate::preprocess::Preprocess;

/// The most bytes of a model's or a version's name. Folders have these names, and file systems allow 255 bytes.
const MAX_NAME_BYTES: usize = 100;
/// Labels of versions. Requests and model stores accept a label in place of a version, so no version may have such a name.
const VERSION_LABELS: [&str; 4] = ["stable", "canary", "shadow", "previous"];

/// The content of a `model.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the model in requests.
    pub name: String,
    /// Version of the model in requests.
    pub version: String,
    /// One sentence for users.
    pub description: String,
    /// Origin of the weights.
    pub source: String,
    /// SPDX name of the weights' licence.
    pub licence: String,
    /// Name of the ONNX file.
    pub onnx: String,
    /// SHA-256 of the ONNX file, in hex.
    pub sha256: String,
    /// Name of the file of labels.
    pub labels: String,
    /// Name of the file of reference logits.
    pub reference_logits: Option<String>,
    /// Size of the network's input.
    pub input: Input,
    /// How a photo becomes that input.
    pub preprocess: Preprocess,
}

/// The network's input size, in pixels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// A verified manifest with its folder, labels and reference logits.
#[derive(Clone, Debug)]
pub struct Model {
    /// The model's folder.
    pub directory: PathBuf,
    /// The content of its `model.toml`.
    pub manifest: Manifest,
    /// Class names in index order.
    pub labels: Vec<String>,
    /// Logits of the synthetic image as another runtime computes them, one for each label.
    pub reference_logits: Option<Vec<f32>>,
}

impl Model {
    /// Path of the ONNX file.
    pub fn onnx_path(&self) -> PathBuf {
        self.directory.join(&self.manifest.onnx)
    }

    /// The model's name as a Rust identifier.
    pub fn module_name(&self) -> String {
        module_name(&self.manifest.name)
    }
}

/// Reads every model below `directory`, sorted by name. Folders whose name begins with a dot are skipped: an import is still
/// writing them.
///
/// # Errors
///
/// There is no model, a model is invalid, or two names differ only in their punctuation and would share a Rust module.
pub fn read_models(directory: &Path) -> Result<Vec<Model>, ModelError> {
    let entries = std::fs::read_dir(directory).map_err(|e| unreadable(directory, &e))?;
    let folders: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| !is_hidden(path) && path.join("model.toml").is_file())
        .collect();
    if folders.is_empty() {
        return Err(ModelError::NoModels { directory: directory.to_path_buf() });
    }
    let mut models = folders.iter().map(|folder| read_model(folder)).collect::<Result<Vec<_>, _>>()?;
    models.sort_by(|one, other| one.manifest.name.cmp(&other.manifest.name));
    for (index, model) in models.iter().enumerate() {
        if let Some(conflict) = models[..index].iter().find(|other| other.module_name() == model.module_name()) {
            return Err(ModelError::Manifest {
                path: model.directory.join("model.toml"),
                reason: format!("its name is too close to that of {}", conflict.directory.display()),
            });
        }
    }
    Ok(models)
}

/// Reads the model in `folder`; verifies the manifest, the digest of the ONNX file, the labels and the reference logits.
///
/// # Errors
///
/// A file is missing or invalid.
pub fn read_model(folder: &Path) -> Result<Model, ModelError> {
    let path = folder.join("model.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, &e))?;
    let invalid = |reason: String| ModelError::Manifest { path: path.clone(), reason };
    let manifest: Manifest = toml::from_str(&text).map_err(|e| invalid(e.to_string()))?;
    validate(&manifest).map_err(invalid)?;
    verify_digest(&folder.join(&manifest.onnx), &manifest.sha256)?;
    let labels = read_labels(&folder.join(&manifest.labels))?;
    let file = manifest.reference_logits.as_ref();
    let reference_logits = file.map(|file| read_logits(&folder.join(file), labels.len())).transpose()?;
    Ok(Model { directory: folder.to_path_buf(), manifest, labels, reference_logits })
}

/// A model's name as a Rust identifier.
pub fn module_name(name: &str) -> String {
    let name: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("model_{name}")
}

/// Whether a folder's name begins with a dot, as that of a folder that is still being written.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Checks that `name` can be a model's name, which is part of URLs and a folder's name.
///
/// # Errors
///
/// A sentence that begins with the name and says which names are allowed.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // A leading dot marks a folder that is still being written.
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.starts_with('.') || !name.chars().all(is_allowed) {
        return Err(format!(
            "'{name}' must be letters, digits, '-', '_' and '.', {MAX_NAME_BYTES} at most, and not begin with a dot"
        ));
    }
    Ok(())
}

/// Checks that `name` can be a version's name. A model store keeps `.toml` files of its own beside the versions' folders.
///
/// # Errors
///
/// A sentence that begins with the name and says which names are allowed.
pub fn check_version(name: &str) -> Result<(), String> {
    check_name(name)?;
    if VERSION_LABELS.contains(&name) || name.ends_with(".toml") {
        return Err(format!("'{name}' must be no label ({}), and not end with '.toml'", VERSION_LABELS.join(", ")));
    }
    Ok(())
}

fn validate(manifest: &Manifest) -> Result<(), String> {
    for (key, outcome) in [("name", check_name(&manifest.name)), ("version", check_version(&manifest.version))] {
        outcome.map_err(|reason| format!("'{key}' is part of URLs: {reason}"))?;
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !manifest.onnx.strip_suffix(".onnx").is_some_and(|stem| !stem.is_empty() && stem.chars().all(is_allowed)) {
        return Err(
            "'onnx' must be a file in the model's folder, named by letters, digits, '-' and '_', then '.onnx'. \
                    Rename the file."
                .to_string(),
        );
    }
    let reference_logits = manifest.reference_logits.as_ref();
    for (key, file) in [("labels", Some(&manifest.labels)), ("reference_logits", reference_logits)] {
        if file.is_some_and(|file| file.is_empty() || file.contains(['/', '\\'])) {
            return Err(format!("'{key}' must be a file in the model's folder"));
        }
    }
    if manifest.input.width == 0 || manifest.input.height == 0 {
        return Err("'input.width' and 'input.height' must be above 0".to_string());
    }
    if !manifest.preprocess.mean.iter().all(|mean| mean.is_finite()) {
        return Err("each 'preprocess.mean' must be finite, in units of 0..255".to_string());
    }
    if manifest.preprocess.std.iter().any(|std| *std <= 0.0 || !std.is_finite()) {
        return Err("each 'preprocess.std' must be above 0, in units of 0..255".to_string());
    }
    Ok(())
}

fn verify_digest(path: &Path, expected: &str) -> Result<(), ModelError> {
    let actual = sha256_hex(&std::fs::read(path).map_err(|e| unreadable(path, &e))?);
    if actual.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(ModelError::Digest { path: path.to_path_buf(), expected: expected.to_string(), actual })
}

fn read_labels(path: &Path) -> Result<Vec<String>, ModelError> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    // Some editors write a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let labels: Vec<String> = text.lines().map(|line| line.trim().to_string()).collect();
    match labels.iter().position(|label| label.chars().any(char::is_control)) {
        None => Ok(labels),
        Some(index) => Err(ModelError::Manifest {
            path: path.to_path_buf(),
            reason: format!("line {} has a control character, but each line names a class", index + 1),
        }),
    }
}

/// Reads one finite number from each line.
fn read_logits(path: &Path, classes: usize) -> Result<Vec<f32>, ModelError> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    let logits: Vec<f32> =
        text.lines().filter_map(|line| line.trim().parse().ok()).filter(|x: &f32| x.is_finite()).collect();
    if logits.len() == classes && text.lines().count() == classes {
        return Ok(logits);
    }
    let reason =
        format!("must hold {classes} logits, one a line; it has {} in {} lines", logits.len(), text.lines().count());
    Err(ModelError::Manifest { path: path.to_path_buf(), reason })
}

fn unreadable(path: &Path, error: &std::io::Error) -> ModelError {
    ModelError::Unreadable { path: path.to_path_buf(), reason: error.to_string() }
}
