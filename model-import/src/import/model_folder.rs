//! Writes a model's folder atomically: a hidden staging folder beside it is filled, checked as the build does, and renamed.

use std::fs::File;
use std::path::{Path, PathBuf};

use kiln_graph::{Graph, is_hidden, module_name, read_model, sha256_hex};

use super::draft::Draft;
use super::error::ImportError;
use super::inspect::InspectedModel;

/// Writes the folder of a model. If the folder exists, it is replaced only if `replace` is true and it holds nothing but a
/// model.
///
/// # Errors
///
/// See [`ImportError`]. After an error nothing is left behind, and an existing folder is unchanged.
pub fn write(network: &InspectedModel, draft: &Draft, folder: &Path, replace: bool) -> Result<(), ImportError> {
    draft.check(network)?;
    let exists = folder.symlink_metadata().is_ok();
    if exists && !replace {
        return Err(ImportError::Exists(folder.to_path_buf()));
    }
    if exists {
        check_replaceable(folder, &draft.onnx_name())?;
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| unwritable(parent, &e))?;
    check_name_is_unique(&draft.name, parent, folder)?;
    remove_stale(parent);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let stage = |purpose| StagingFolder::create(parent, &name, purpose).map_err(|e| unwritable(parent, &e));
    let new = stage(IMPORTING)?;
    fill(network, draft, &new.path)?;
    let model = read_model(&new.path)?;
    Graph::read_model(&model)?.check_model(&model)?;
    if !exists {
        return std::fs::rename(&new.path, folder).map_err(|e| unwritable(folder, &e));
    }
    let old = stage(REPLACED)?;
    // The lock moves with the folder, so that no other import takes it for the leftover of a killed one.
    let _lock = try_lock(folder);
    // Renaming a folder onto an empty one replaces that.
    std::fs::rename(folder, &old.path).map_err(|e| unwritable(folder, &e))?;
    std::fs::rename(&new.path, folder).map_err(|e| {
        // Restore the old folder. If that fails too, the first error is the one to report.
        let _ = std::fs::rename(&old.path, folder);
        unwritable(folder, &e)
    })
}

fn fill(network: &InspectedModel, draft: &Draft, folder: &Path) -> Result<(), ImportError> {
    let put = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).map_err(|e| unwritable(&path, &e))
    };
    put(&draft.onnx_name(), &network.onnx)?;
    put("labels.txt", draft.labels.iter().map(|label| format!("{label}\n")).collect::<String>().as_bytes())?;
    if let Some(logits) = &draft.logits {
        let lines: String = logits.iter().map(|logit| format!("{logit:?}\n")).collect();
        put("reference_logits.txt", lines.as_bytes())?;
    }
    put("model.toml", draft.manifest_text(network, &sha256_hex(&network.onnx)).as_bytes())
}

/// Rejects a name that would share a Rust module with a neighbour, because the build would then reject all models.
fn check_name_is_unique(name: &str, parent: &Path, folder: &Path) -> Result<(), ImportError> {
    /// The only key of a manifest that matters here.
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    let neighbours = std::fs::read_dir(parent).map_err(|e| unwritable(parent, &e))?;
    for neighbour in neighbours.filter_map(Result::ok).map(|entry| entry.path()) {
        if is_hidden(&neighbour) || neighbour.file_name() == folder.file_name() {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(neighbour.join("model.toml")) else { continue };
        let Ok(named) = toml::from_str::<Named>(&text) else { continue };
        if module_name(&named.name) == module_name(name) {
            return Err(ImportError::Taken { name: name.to_string(), folder: neighbour });
        }
    }
    Ok(())
}

/// Rejects a folder that `--force` must not delete: one without a model, or with anything besides the manifest, the files that
/// the manifest names, and the files that an import writes. `onnx` is the name of the ONNX file. A `model.toml` alone does not
/// make a model's folder, since a project may have a file of that name.
fn check_replaceable(folder: &Path, onnx: &str) -> Result<(), ImportError> {
    /// The files that a manifest names.
    #[derive(Default, serde::Deserialize)]
    struct Named {
        onnx: Option<String>,
        labels: Option<String>,
        reference_logits: Option<String>,
    }
    let unreadable = |e: std::io::Error| unwritable(folder, &e);
    if !folder.join("model.toml").is_file() {
        return Err(ImportError::NotAModel(folder.to_path_buf()));
    }
    let text = std::fs::read_to_string(folder.join("model.toml")).map_err(unreadable)?;
    let Named { onnx: named, labels, reference_logits } = toml::from_str(&text).unwrap_or_default();
    let named = [named, labels, reference_logits].into_iter().flatten();
    let written = ["model.toml", "labels.txt", "reference_logits.txt", onnx].map(str::to_string);
    let known: Vec<String> = written.into_iter().chain(named).collect();
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

fn unwritable(path: &Path, error: &std::io::Error) -> ImportError {
    ImportError::Write { path: path.to_path_buf(), reason: error.to_string() }
}

/// Purpose of a staging folder that is being filled.
const IMPORTING: &str = "importing";
/// Purpose of a staging folder that holds the replaced model until the new one is in its place.
const REPLACED: &str = "replaced";

/// A hidden folder beside the model's, which the build ignores. It is deleted with its content when this is dropped.
struct StagingFolder {
    path: PathBuf,
    /// Locked while the folder is in use.
    _lock: Option<File>,
}

impl StagingFolder {
    fn create(parent: &Path, name: &str, purpose: &str) -> std::io::Result<Self> {
        let path = parent.join(format!(".{name}.{purpose}-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        let lock = try_lock(&path);
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        // It does not exist any more if it was renamed.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes staging folders that killed imports left in `parent`. A replaced model whose place is still empty is restored.
fn remove_stale(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        let file_name = entry.file_name();
        let Some((name, purpose)) = file_name.to_str().and_then(parse_staging_name) else { continue };
        let is_folder = path.symlink_metadata().is_ok_and(|about| about.is_dir());
        // The folder stays if another process holds its lock, or if the lock's state cannot be determined.
        let Some(_lock) = is_folder.then(|| try_lock(&path)).flatten() else { continue };
        let place = parent.join(name);
        let is_only_copy =
            purpose == REPLACED && place.symlink_metadata().is_err() && path.join("model.toml").is_file();
        // A failure does not affect this import, so it is ignored.
        let _ = if is_only_copy { std::fs::rename(&path, &place) } else { std::fs::remove_dir_all(&path) };
    }
}

/// Locks a folder; `None` if another process holds the lock, or if the file system does not support locks.
fn try_lock(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// The model's folder name and the purpose in the name of a staging folder.
fn parse_staging_name(name: &str) -> Option<(&str, &'static str)> {
    let (rest, process) = name.strip_prefix('.')?.rsplit_once('-')?;
    let (name, purpose) = rest.rsplit_once('.')?;
    let purpose = [IMPORTING, REPLACED].into_iter().find(|known| *known == purpose)?;
    let is_valid = !name.is_empty() && !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
    is_valid.then_some((name, purpose))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_staging_folders_are_removed_and_locked_ones_stay() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            std::fs::create_dir(parent.path().join(name)).unwrap();
            std::fs::write(parent.path().join(name).join("model.toml"), name).unwrap();
        };
        for name in [".net.importing-7", ".net.replaced-8", ".lost.replaced-9", "net", ".git", ".net.importing-x"] {
            make(name);
        }
        let busy = StagingFolder::create(parent.path(), "net", IMPORTING).unwrap();
        remove_stale(parent.path());
        let there = |name: &str| parent.path().join(name).exists();
        assert!(busy.path.exists());
        assert!(!there(".net.importing-7") && !there(".net.replaced-8") && !there(".lost.replaced-9"));
        // The only copy of a replaced model is restored.
        assert_eq!(std::fs::read_to_string(parent.path().join("lost/model.toml")).unwrap(), ".lost.replaced-9");
        assert_eq!(std::fs::read_to_string(parent.path().join("net/model.toml")).unwrap(), "net");
        assert!(there(".git") && there(".net.importing-x"));
    }
}
