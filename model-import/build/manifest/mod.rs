//! What a `models/<name>/model.toml` says, and what it may say. `folder.rs` reads it with the files that it names.

mod folder;

use std::path::Path;

use serde::Deserialize;

#[allow(unused_imports, reason = "the build script reads all models, and an import one")]
pub use folder::{Model, read, read_all};

/// The longest name of a model or a version, which folders are called by; file systems take 255 bytes.
const LONGEST: usize = 100;
/// What versions are there for, and the one before: requests and stores of versions name these where they name versions.
const LABELS: [&str; 4] = ["stable", "canary", "shadow", "previous"];

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

/// A model's name as a Rust identifier.
pub fn module_name(name: &str) -> String {
    let name: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("model_{name}")
}

/// Whether a folder is one that is still being written.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Refuses what can be no model's name, since it stands in addresses and for a folder.
///
/// # Errors
///
/// A sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    let nameable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // A folder that begins with a dot is one that is still being written.
    if name.is_empty() || name.len() > LONGEST || name.starts_with('.') || !name.chars().all(nameable) {
        return Err(format!(
            "'{name}' must be letters, digits, '-', '_' and '.', {LONGEST} at most, and not begin with a dot"
        ));
    }
    Ok(())
}

/// The same for a version. A store of versions has its own files beside the versions' folders.
///
/// # Errors
///
/// A sentence.
pub fn check_version(name: &str) -> Result<(), String> {
    check_name(name)?;
    if LABELS.contains(&name) || name.ends_with(".toml") {
        return Err(format!("'{name}' must be no label ({}), and not end with '.toml'", LABELS.join(", ")));
    }
    Ok(())
}

fn check(manifest: &Manifest) -> Result<(), String> {
    for (what, outcome) in [("name", check_name(&manifest.name)), ("version", check_version(&manifest.version))] {
        outcome.map_err(|reason| format!("'{what}' stands in addresses: {reason}"))?;
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
    if !manifest.preprocess.mean.iter().all(|mean| mean.is_finite()) {
        return Err("each 'preprocess.mean' must be finite, in units of 0..255".to_string());
    }
    if manifest.preprocess.std.iter().any(|std| *std <= 0.0 || !std.is_finite()) {
        return Err("each 'preprocess.std' must be above 0, in units of 0..255".to_string());
    }
    Ok(())
}
