//! The model store: a folder with versions of models and their labels. Commands write it, servers read it. This module
//! handles files only; the engines check the weights and the results of a device.
//!
//! ```text
//! DIR/NAME/labels.toml                    which version is stable, canary, shadow
//! DIR/NAME/numbers.toml                   the highest version number that was ever used
//! DIR/NAME/VERSION/manifest.toml          description of the version
//! DIR/NAME/VERSION/weights.bpk            its weights
//! DIR/NAME/VERSION/reference_logits.txt   its logits of the synthetic image, one a line
//! ```
//!
//! Every write is atomic: the content goes to a temporary file or folder beside the target, which is then renamed. The
//! built-in version of a model has no folder. It exists under its own name, and it is stable if `labels.toml` names no
//! other version.

mod atomic_fs;
mod error;
mod label_changes;
mod labels;
mod manifest;
#[cfg(test)]
mod tests;
mod versions;

use std::path::{Path, PathBuf};

use model_import::import;

pub use error::StoreError;
pub use labels::{Canary, Labels, TrafficShare};
pub use manifest::Manifest;
pub use versions::{ListedVersion, read_weights, write_weights};

/// A folder of model versions. Cheap to clone: it holds only the path.
#[derive(Clone, Debug)]
pub struct ModelStore {
    folder: PathBuf,
}

impl ModelStore {
    /// Returns the store in `folder`, which does not have to exist yet.
    pub fn open(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Returns the folder of the store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the folder of a model's versions and labels.
    fn model_folder(&self, model: &str) -> Result<PathBuf, StoreError> {
        check_name("model", model)?;
        Ok(self.folder.join(model))
    }

    /// Returns the files that determine which versions of a model are served, so that the caller can watch them: the
    /// labels file first, then the files of `versions`.
    pub fn files(&self, model: &str, versions: &[&str]) -> Vec<PathBuf> {
        let Ok(folder) = self.model_folder(model) else { return Vec::new() };
        let parts = |version: &&str| {
            [manifest::FILE, versions::WEIGHTS_FILE, manifest::REFERENCE_LOGITS_FILE]
                .map(|file| folder.join(version).join(file))
        };
        let versions = versions.iter().filter(|version| check_name("version", version).is_ok());
        std::iter::once(folder.join(labels::FILE)).chain(versions.flat_map(parts)).collect()
    }
}

/// A subcommand of `kiln models`. `model` is the name of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreCommand {
    /// Lists every version.
    List,
    /// Adds weights as a new version.
    Add {
        /// The model whose graph the weights are for.
        model: String,
        /// A Burnpack file.
        file: PathBuf,
        /// Name of the new version; the next number if absent.
        version: Option<String>,
    },
    /// Writes the weights of a version to a file.
    Export {
        /// The model.
        model: String,
        /// The version; the stable version if absent.
        version: Option<String>,
        /// The file to write.
        out: PathBuf,
    },
    /// Makes a version stable.
    Promote {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// Makes the previous stable version stable again.
    Rollback {
        /// The model.
        model: String,
    },
    /// Sets or ends the canary.
    Canary {
        /// The model.
        model: String,
        /// The version and its share of the requests; `None` ends the canary.
        canary: Option<Canary>,
    },
    /// Sets or ends the shadow.
    Shadow {
        /// The model.
        model: String,
        /// The version; `None` ends the shadow.
        version: Option<String>,
    },
    /// Deletes a version.
    Remove {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
}

/// Checks that a name can be the name of a folder of the store.
fn check_name(what: &'static str, name: &str) -> Result<(), StoreError> {
    import::check_name(name).map_err(|_| invalid_name(what, name))
}

/// Checks the name of a version. A request may give a label in place of a version, so a label is not a valid name.
///
/// # Errors
///
/// The name has invalid characters or is a label.
pub fn check_version(name: &str) -> Result<(), StoreError> {
    import::check_version(name).map_err(|_| invalid_name("version", name))
}

fn invalid_name(what: &'static str, name: &str) -> StoreError {
    StoreError::InvalidName { what, name: printable(name).chars().take(40).collect() }
}

/// Removes the control characters from a text that came from a file, so that a terminal can show it.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
