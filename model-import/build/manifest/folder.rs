//! A model's folder: its manifest, and the files that the manifest names. It does not look inside the ONNX file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::super::error::Refusal;
use super::{Manifest, check, is_hidden, module_name};

/// A manifest, its folder and its labels, all verified.
#[derive(Clone, Debug)]
pub struct Model {
    pub directory: PathBuf,
    pub manifest: Manifest,
    pub labels: Vec<String>,
    /// The right logits of the synthetic picture.
    pub canary: Option<Vec<f32>>,
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
