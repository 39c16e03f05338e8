//! What `--force` may delete: a folder with a model and nothing else. A `model.toml` alone makes none, since a project may
//! have a file of that name.

use std::path::Path;

use super::import_error::ImportError;

/// Of a manifest, whatever else it says, the files that it names.
#[derive(Default, serde::Deserialize)]
struct Named {
    onnx: Option<String>,
    labels: Option<String>,
    canary: Option<String>,
}

/// Refuses a folder that holds no model, or anything beside its manifest, the files that the manifest names and those that an
/// import writes, of which the network is called `onnx`.
pub(super) fn check(folder: &Path, onnx: &str) -> Result<(), ImportError> {
    let unreadable = |e: std::io::Error| ImportError::Write { path: folder.to_path_buf(), reason: e.to_string() };
    if !folder.join("model.toml").is_file() {
        return Err(ImportError::NotAModel(folder.to_path_buf()));
    }
    let text = std::fs::read_to_string(folder.join("model.toml")).map_err(unreadable)?;
    let Named { onnx: named, labels, canary } = toml::from_str(&text).unwrap_or_default();
    let named = [named, labels, canary].into_iter().flatten();
    let known: Vec<String> =
        ["model.toml", "labels.txt", "canary.txt", onnx].map(str::to_string).into_iter().chain(named).collect();
    let mut others = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let is_folder = entry.file_type().map_err(unreadable)?.is_dir();
        if is_folder || !entry.file_name().to_str().is_some_and(|name| known.iter().any(|known| known == name)) {
            others.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    others.sort();
    if others.is_empty() { Ok(()) } else { Err(ImportError::OtherFiles { folder: folder.to_path_buf(), others }) }
}
