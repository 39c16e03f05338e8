//! Reads and verifies `models/<name>/model.toml`. It does not look inside the ONNX file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::Refusal;

/// What a `model.toml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub description: String,
    pub source: String,
    pub licence: String,
    pub onnx: String,
    pub sha256: String,
    pub labels: String,
    pub canary: Option<String>,
    pub input: Input,
    pub preprocess: Preprocess,
}

/// The picture that the network takes, in pixels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub width: u32,
    pub height: u32,
}

/// How a picture becomes the network's input.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    pub filter: Filter,
    pub crop: Crop,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Resize filter, as Pillow names them.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    Bilinear,
    Bicubic,
    Lanczos,
}

/// Which part of the picture is kept.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crop {
    /// The whole picture, stretched.
    None,
    /// The central square of side `min(h, w) * size / (size + padding)`.
    CentralPadded(u32),
}

/// A manifest, its folder and its labels, all verified.
#[derive(Clone, Debug)]
pub struct Model {
    pub directory: PathBuf,
    pub manifest: Manifest,
    pub labels: Vec<String>,
    /// The right logits of the synthetic picture.
    pub canary: Option<Vec<f32>>,
}

/// A model's name as a Rust identifier.
pub fn module_name(name: &str) -> String {
    let name: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("model_{name}")
}

impl Model {
    /// Where the ONNX file is.
    pub fn onnx_path(&self) -> PathBuf {
        self.directory.join(&self.manifest.onnx)
    }

    /// The model's name as a Rust identifier.
    pub fn module_name(&self) -> String {
        module_name(&self.manifest.name)
    }
}

/// Every model below `directory`, in the order of their names. Folders whose name begins with a dot are still being written.
///
/// Two models whose names differ only in their punctuation would share a module.
pub fn read_all(directory: &Path) -> Result<Vec<Model>, Refusal> {
    let entries = std::fs::read_dir(directory).map_err(|e| unreadable(directory, &e))?;
    let folders: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| !is_hidden(path) && path.join("model.toml").is_file())
        .collect();
    if folders.is_empty() {
        return Err(Refusal::NoModels { directory: directory.to_path_buf() });
    }
    let mut models = folders.iter().map(|folder| read(folder)).collect::<Result<Vec<_>, _>>()?;
    models.sort_by(|one, other| one.manifest.name.cmp(&other.manifest.name));
    for (index, model) in models.iter().enumerate() {
        if let Some(twin) = models[..index].iter().find(|other| other.module_name() == model.module_name()) {
            return Err(Refusal::Manifest {
                path: model.directory.join("model.toml"),
                reason: format!("its name is too close to that of {}", twin.directory.display()),
            });
        }
    }
    Ok(models)
}

/// Whether a folder is one that is still being written.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The model in `folder`, its digest and labels checked.
pub fn read(folder: &Path) -> Result<Model, Refusal> {
    let path = folder.join("model.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, &e))?;
    let refuse = |reason: String| Refusal::Manifest { path: path.clone(), reason };
    let manifest: Manifest = toml::from_str(&text).map_err(|e| refuse(e.to_string()))?;
    check(&manifest).map_err(refuse)?;
    verify_digest(&folder.join(&manifest.onnx), &manifest.sha256)?;
    let labels = read_labels(&folder.join(&manifest.labels))?;
    let canary = manifest.canary.as_ref().map(|file| read_canary(&folder.join(file), labels.len())).transpose()?;
    Ok(Model { directory: folder.to_path_buf(), manifest, labels, canary })
}

/// Refuses what can be no model's name or version, since it stands in addresses.
///
/// # Errors
///
/// A sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    let nameable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // A folder that begins with a dot is one that is still being written.
    if name.is_empty() || name.starts_with('.') || !name.chars().all(nameable) {
        return Err(format!("'{name}' must be letters, digits, '-', '_' and '.', and not begin with a dot"));
    }
    Ok(())
}

fn check(manifest: &Manifest) -> Result<(), String> {
    for (what, name) in [("name", &manifest.name), ("version", &manifest.version)] {
        check_name(name).map_err(|reason| format!("'{what}' stands in addresses: {reason}"))?;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !manifest.onnx.strip_suffix(".onnx").is_some_and(|stem| !stem.is_empty() && stem.chars().all(plain)) {
        return Err(
            "'onnx' must be a file in the model's folder, named by letters, digits, '-' and '_', then '.onnx'. \
                    Rename the file."
                .to_string(),
        );
    }
    if manifest.labels.is_empty() || manifest.labels.contains(['/', '\\']) {
        return Err("'labels' must be a file in the model's folder".to_string());
    }
    if manifest.canary.as_ref().is_some_and(|file| file.is_empty() || file.contains(['/', '\\'])) {
        return Err("'canary' must be a file in the model's folder".to_string());
    }
    if manifest.input.width == 0 || manifest.input.height == 0 {
        return Err("'input.width' and 'input.height' must be above 0".to_string());
    }
    if manifest.preprocess.std.iter().any(|std| *std <= 0.0 || !std.is_finite()) {
        return Err("each 'preprocess.std' must be above 0, in units of 0..255".to_string());
    }
    Ok(())
}

fn verify_digest(path: &Path, expected: &str) -> Result<(), Refusal> {
    let bytes = std::fs::read(path).map_err(|e| unreadable(path, &e))?;
    let mut actual = String::new();
    for byte in Sha256::digest(&bytes) {
        let _ = write!(actual, "{byte:02x}");
    }
    if actual.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(Refusal::Digest { path: path.to_path_buf(), expected: expected.to_string(), actual })
}

fn read_labels(path: &Path) -> Result<Vec<String>, Refusal> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    // Some editors begin a file with a mark of its byte order.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let labels: Vec<String> = text.lines().map(|line| line.trim().to_string()).collect();
    match labels.iter().position(|label| label.chars().any(char::is_control)) {
        None => Ok(labels),
        Some(index) => Err(Refusal::Manifest {
            path: path.to_path_buf(),
            reason: format!("line {} has a control character, but each line names a class", index + 1),
        }),
    }
}

/// One number a line.
fn read_canary(path: &Path, classes: usize) -> Result<Vec<f32>, Refusal> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    let logits: Vec<f32> =
        text.lines().filter_map(|line| line.trim().parse().ok()).filter(|x: &f32| x.is_finite()).collect();
    if logits.len() == classes && text.lines().count() == classes {
        return Ok(logits);
    }
    let reason =
        format!("must hold {classes} logits, one a line; it has {} in {} lines", logits.len(), text.lines().count());
    Err(Refusal::Manifest { path: path.to_path_buf(), reason })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Refusal {
    Refusal::Unreadable { path: path.to_path_buf(), reason: error.to_string() }
}
