//! The versions of a model: add, list, read, verify, remove.
//!
//! Two rules on names: a version number is used once (`numbers.toml`), and a folder with the name of the built-in
//! version is never served. Such a folder exists after a build with a newer built-in version.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::manifest::{self, Manifest};
use super::{Labels, ModelStore, StoreError, atomic_fs, check_name, check_version, printable};
use kiln_inference::model::{Model, Weights};

pub(super) const WEIGHTS_FILE: &str = "weights.bpk";

/// File with the highest version number that was ever used.
const COUNTER_FILE: &str = "numbers.toml";

/// A version's name, and its manifest or the reason why the version cannot be served.
pub type ListedVersion = (String, Result<Manifest, StoreError>);

impl ModelStore {
    /// Adds a version of `model` under the next free number and returns its name. The version has no label.
    /// `reference_logits` are its logits of the synthetic image; each engine must reproduce them at start.
    ///
    /// This function does not check that the weights fit the model; a server rejects weights that do not fit.
    ///
    /// # Errors
    ///
    /// The version cannot be written.
    pub fn add(
        &self,
        model: &Model,
        weights: &Weights,
        origin: &str,
        reference_logits: Option<&[f32]>,
    ) -> Result<String, StoreError> {
        self.insert(model, None, weights, origin, reference_logits)
    }

    /// Adds a version as [`ModelStore::add`] does, but under the name `version`.
    ///
    /// # Errors
    ///
    /// The name is invalid or taken, or the version cannot be written.
    pub fn add_as(
        &self,
        model: &Model,
        version: &str,
        weights: &Weights,
        origin: &str,
        reference_logits: Option<&[f32]>,
    ) -> Result<(), StoreError> {
        self.insert(model, Some(version), weights, origin, reference_logits).map(drop)
    }

    /// Writes a version while holding the lock, and returns its name.
    fn insert(
        &self,
        model: &Model,
        name: Option<&str>,
        weights: &Weights,
        origin: &str,
        reference_logits: Option<&[f32]>,
    ) -> Result<String, StoreError> {
        name.map_or(Ok(()), check_version)?;
        let (folder, built_in) = (self.model_folder(model.name())?, model.original_version());
        atomic_fs::create_dir_all(&folder)?;
        let _lock = atomic_fs::lock(&folder)?;
        atomic_fs::delete_abandoned(&folder);
        let is_taken = |version: &str| version == built_in || folder.join(version).exists();
        let version = match name {
            Some(version) if is_taken(version) => {
                return Err(StoreError::VersionExists { version: version.to_string() });
            }
            Some(version) => version.to_string(),
            // A file can have the next number as its name.
            None => {
                let mut names = (next_number(&folder, built_in)?..).map(|number| number.to_string());
                names.find(|name| !is_taken(name)).expect("there are more numbers than files")
            }
        };
        let logits_text = reference_logits.map(manifest::reference_logits_text);
        let logits_digest = logits_text.as_deref().map(manifest::reference_logits_digest);
        let manifest = Manifest {
            name: model.name().to_string(),
            version: version.clone(),
            weights: weights_digest(weights),
            graph: graph_digest(model),
            created: Manifest::now(),
            origin: origin.to_string(),
            reference_logits: logits_digest.unwrap_or_else(|| manifest::NO_REFERENCE_LOGITS.to_string()),
        };
        record_number(&folder, &version)?;
        atomic_fs::create_folder(&folder.join(&version), |staging| {
            staging.write(WEIGHTS_FILE, weights.bytes())?;
            if let Some(text) = &logits_text {
                staging.write(manifest::REFERENCE_LOGITS_FILE, text.as_bytes())?;
            }
            staging.write(manifest::FILE, manifest.to_toml().as_bytes())
        })?;
        Ok(version)
    }

    /// Deletes a version.
    ///
    /// # Errors
    ///
    /// The version has a label, is built in or does not exist, or it cannot be deleted.
    pub fn remove(&self, model: &Model, version: &str) -> Result<(), StoreError> {
        self.verify_exists(model, version)?;
        let folder = self.model_folder(model.name())?;
        if version == model.original_version() {
            return Err(StoreError::BuiltIn { version: version.to_string() });
        }
        let _lock = atomic_fs::lock(&folder)?;
        atomic_fs::delete_abandoned(&folder);
        let labels = Labels::read(&folder)?;
        let label = labels.of(version, model.original_version()).first().map(|label| label.as_str());
        let previous = || (labels.previous.as_deref() == Some(version)).then_some("previous");
        match label.or_else(previous) {
            Some(label) => Err(StoreError::Labelled { version: version.to_string(), label }),
            None => {
                record_number(&folder, version)?;
                atomic_fs::delete_folder(&folder.join(version))
            }
        }
    }

    /// Returns every version in the store, sorted by name (numbers by value), with its manifest or an error. A version
    /// with the name of the built-in one always has an error.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn versions(&self, model: &Model) -> Result<Vec<ListedVersion>, StoreError> {
        let mut names = atomic_fs::list_folders(&self.model_folder(model.name())?)?;
        let mut conflict = self.find_built_in_conflict(model)?;
        let is_built_in = |name: &String| *name == model.original_version() && conflict.is_none();
        names.retain(|name| check_version(name).is_ok() && !is_built_in(name));
        names.sort_by_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
        let listed = |name: String| {
            let manifest = self.manifest(model, &name);
            match conflict.take_if(|_| name == model.original_version()) {
                Some((error, _)) => (name, Err(error)),
                None => (name, manifest),
            }
        };
        Ok(names.into_iter().map(listed).collect())
    }

    /// Returns a version of `model` with its weights. The built-in version is returned under its own name.
    ///
    /// # Errors
    ///
    /// The version does not exist, its files are damaged, or it was made for another graph.
    pub fn read(&self, model: &Model, version: &str) -> Result<Model, StoreError> {
        if version == model.original_version() {
            return Ok(model.clone());
        }
        let manifest = self.manifest(model, version)?;
        let folder = self.model_folder(model.name())?.join(version);
        if manifest.graph != graph_digest(model) {
            return Err(StoreError::GraphMismatch { version: version.to_string() });
        }
        let path = folder.join(WEIGHTS_FILE);
        let weights = read_weights(&path, model)?;
        let found = weights_digest(&weights);
        if found != manifest.weights {
            return Err(StoreError::DigestMismatch { path, found, expected: manifest.weights });
        }
        let reference_logits = match manifest.has_reference_logits() {
            true => Some(manifest::read_reference_logits(&folder, model, &manifest.reference_logits)?),
            false => None,
        };
        Ok(model.with_weights_and_reference(version, weights, reference_logits))
    }

    /// Returns the manifest of a version in the store.
    ///
    /// # Errors
    ///
    /// The version does not exist, or its manifest is damaged.
    pub fn manifest(&self, model: &Model, version: &str) -> Result<Manifest, StoreError> {
        check_version(version)?;
        let path = self.model_folder(model.name())?.join(version).join(manifest::FILE);
        let manifest = Manifest::read(&path, model.name(), version)?;
        manifest.ok_or_else(|| self.no_such_version(version, Vec::new()))
    }

    /// Verifies that a version exists and that its files are unchanged. Reads all of them.
    pub(super) fn verify(&self, model: &Model, version: &str) -> Result<(), StoreError> {
        self.verify_exists(model, version)?;
        match self.find_built_in_conflict(model)?.filter(|_| version == model.original_version()) {
            Some((conflict, false)) => Err(conflict),
            _ => self.read(model, version).map(drop),
        }
    }

    fn verify_exists(&self, model: &Model, version: &str) -> Result<(), StoreError> {
        check_name("version", version)?;
        let has_manifest = |folder: &Path| folder.join(version).join(manifest::FILE).is_file();
        if version == model.original_version() || has_manifest(&self.model_folder(model.name())?) {
            return Ok(());
        }
        let known = self.versions(model)?.into_iter().map(|(version, _)| version).collect();
        Err(self.no_such_version(version, known))
    }

    fn no_such_version(&self, version: &str, known: Vec<String>) -> StoreError {
        StoreError::NoSuchVersion { version: version.to_string(), known, store: self.folder().to_path_buf() }
    }

    /// Returns a warning about a version in the store with the name of the built-in version; `None` if there is no such
    /// version.
    ///
    /// # Errors
    ///
    /// `labels.toml` names that version and its weights or graph differ from the built-in ones, so the label is
    /// ambiguous. Or the labels cannot be read.
    pub fn built_in_conflict(&self, model: &Model) -> Result<Option<StoreError>, StoreError> {
        let Some((conflict, is_same)) = self.find_built_in_conflict(model)? else { return Ok(None) };
        let is_labelled = self.labels(model.name())?.names(model.original_version());
        if is_labelled && !is_same { Err(conflict) } else { Ok(Some(conflict)) }
    }

    /// Returns the conflict, regardless of labels, and whether the version has the same graph and weights as the
    /// built-in one.
    fn find_built_in_conflict(&self, model: &Model) -> Result<Option<(StoreError, bool)>, StoreError> {
        let path = self.model_folder(model.name())?.join(model.original_version());
        if !path.join(manifest::FILE).exists() {
            return Ok(None);
        }
        let (difference, is_same) = match self.manifest(model, model.original_version()) {
            Err(error) => (format!("and the two cannot be compared: {}", error.clause()), false),
            Ok(manifest) if manifest.graph != graph_digest(model) => ("for another graph".to_string(), false),
            Ok(manifest) if manifest.weights != model.weights_digest() => ("with other weights".to_string(), false),
            Ok(_) => ("with the same weights".to_string(), true),
        };
        Ok(Some((StoreError::BuiltInConflict { path, difference }, is_same)))
    }
}

/// Returns `sha256:<hex>` of the ONNX file of a model's graph.
fn graph_digest(model: &Model) -> String {
    format!("sha256:{}", model.spec().sha256)
}

fn weights_digest(weights: &Weights) -> String {
    format!("sha256:{}", weights.sha256())
}

/// Reads a file of weights for `model`. The size of the file is limited by the size of the model.
///
/// # Errors
///
/// The file cannot be read or is too large.
pub fn read_weights(path: &Path, model: &Model) -> Result<Weights, StoreError> {
    let max_bytes = model.built_in().expect("the store holds versions of built-in models").max_weight_bytes();
    atomic_fs::read(path, max_bytes).map(Weights::new)
}

/// Writes weights to a file that must not exist yet.
///
/// # Errors
///
/// The file exists or cannot be written. In the second case nothing remains.
pub fn write_weights(path: &Path, weights: &Weights) -> Result<(), StoreError> {
    atomic_fs::write_new(path, weights.bytes()).map_err(|error| StoreError::io(path, error))
}

/// The content of `numbers.toml`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct VersionCounter {
    last: u32,
}

/// Returns the number that a version's name is. Names from 1,000,000 on, such as dates, do not count as numbers.
fn version_number(version: &str) -> Option<u32> {
    version.parse().ok().filter(|number| *number < 1_000_000)
}

/// Returns the next unused number. It is higher than the number of every version that exists or existed, because logs,
/// metrics and operators would take a reused number for the old weights.
fn next_number(folder: &Path, built_in: &str) -> Result<u64, StoreError> {
    let highest = highest_number(folder)?.max(version_number(built_in).unwrap_or(0));
    Ok(u64::from(highest) + 1)
}

/// Records a version's number, if its name is one, and the numbers of the existing versions. The caller must hold the
/// folder's lock and call this before it adds or deletes the version.
fn record_number(folder: &Path, version: &str) -> Result<(), StoreError> {
    let last = highest_number(folder)?.max(version_number(version).unwrap_or(0));
    if last == recorded_number(folder)? {
        return Ok(());
    }
    let text = toml::to_string(&VersionCounter { last }).expect("a number can be written as TOML");
    atomic_fs::replace(&folder.join(COUNTER_FILE), text.as_bytes())
}

fn highest_number(folder: &Path) -> Result<u32, StoreError> {
    let existing = atomic_fs::list_folders(folder)?.iter().filter_map(|name| version_number(name)).max();
    Ok(recorded_number(folder)?.max(existing.unwrap_or(0)))
}

fn recorded_number(folder: &Path) -> Result<u32, StoreError> {
    let path = folder.join(COUNTER_FILE);
    let Some(text) = atomic_fs::read_text(&path)? else { return Ok(0) };
    let counter: Result<VersionCounter, _> = toml::from_str(&text);
    let counter = counter.map_err(|error| printable(error.message()));
    counter.map(|counter| counter.last).map_err(|reason| StoreError::CorruptVersionCounter { path, reason })
}
