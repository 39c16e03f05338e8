//! Writes a model's folder, all or nothing: a hidden one beside it is filled, checked as the build will, and renamed.

use std::path::Path;

use super::draft::Draft;
use super::hidden::{Hidden, IMPORTING, REPLACED};
use super::import_error::ImportError;
use super::inspect::Network;
use super::manifest_text::manifest_text;
use super::{graph, hidden, manifest, replaceable};
use crate::weights::hex;

/// Makes `folder` of a network and what is known of it. A model that is there already gives way only if `replace` says so, and
/// only if there is nothing but a model.
///
/// # Errors
///
/// See [`ImportError`]. Nothing is left behind, and what was there stays.
pub fn write(network: &Network, draft: &Draft, folder: &Path, replace: bool) -> Result<(), ImportError> {
    draft.check(network)?;
    let is_there = folder.symlink_metadata().is_ok();
    if is_there && !replace {
        return Err(ImportError::Exists(folder.to_path_buf()));
    }
    if is_there {
        replaceable::check(folder, &draft.onnx_name())?;
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| unwritable(parent, &e))?;
    refuse_twins(&draft.name, parent, folder)?;
    hidden::sweep(parent);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let beside = |what| Hidden::create(parent, &name, what).map_err(|e| unwritable(parent, &e));
    let fresh = beside(IMPORTING)?;
    fill(network, draft, &fresh.path)?;
    let model = manifest::read(&fresh.path)?;
    graph::check(&model, &graph::read(&model)?)?;
    if !is_there {
        return std::fs::rename(&fresh.path, folder).map_err(|e| unwritable(folder, &e));
    }
    let old = beside(REPLACED)?;
    // It goes with the folder, so that nobody takes the old one for what a killed import has left.
    let _busy = hidden::locked(folder);
    // A folder takes the place of an empty one.
    std::fs::rename(folder, &old.path).map_err(|e| unwritable(folder, &e))?;
    std::fs::rename(&fresh.path, folder).map_err(|e| {
        // As it was; the first error is the one to tell.
        let _ = std::fs::rename(&old.path, folder);
        unwritable(folder, &e)
    })
}

fn fill(network: &Network, draft: &Draft, folder: &Path) -> Result<(), ImportError> {
    let put = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).map_err(|e| unwritable(&path, &e))
    };
    put(&draft.onnx_name(), &network.onnx)?;
    put("labels.txt", draft.labels.iter().map(|label| format!("{label}\n")).collect::<String>().as_bytes())?;
    if let Some(logits) = &draft.logits {
        put("canary.txt", logits.iter().map(|logit| format!("{logit:?}\n")).collect::<String>().as_bytes())?;
    }
    put("model.toml", manifest_text(draft, network, &hex(&network.onnx)).as_bytes())
}

/// Refuses a name with which the build would refuse all models.
fn refuse_twins(name: &str, parent: &Path, folder: &Path) -> Result<(), ImportError> {
    /// Of a manifest, whatever else it says.
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    let neighbours = std::fs::read_dir(parent).map_err(|e| unwritable(parent, &e))?;
    for neighbour in neighbours.filter_map(Result::ok).map(|entry| entry.path()) {
        if manifest::is_hidden(&neighbour) || neighbour.file_name() == folder.file_name() {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(neighbour.join("model.toml")) else { continue };
        let Ok(named) = toml::from_str::<Named>(&text) else { continue };
        if manifest::module_name(&named.name) == manifest::module_name(name) {
            return Err(ImportError::Taken { name: name.to_string(), folder: neighbour });
        }
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> ImportError {
    ImportError::Write { path: path.to_path_buf(), reason: error.to_string() }
}
