//! The desired state of a model repository, its loaded state, and the steps from one to the other. This file reads no
//! file and starts no engine.

use std::collections::{BTreeMap, BTreeSet};

use super::scanner::Scan;
use super::snapshot::{InvalidFolder, VersionFiles, VersionKey};

/// Desired and loaded versions. `T` is a loaded version.
#[derive(Debug)]
pub(super) struct Reconciler<T> {
    /// Names of models that are not of the repository.
    reserved: BTreeSet<String>,
    desired: BTreeMap<VersionKey, VersionFiles>,
    /// Versions whose files changed between the last two scans.
    changing: BTreeSet<VersionKey>,
    loaded: BTreeMap<VersionKey, Loaded<T>>,
    /// The last attempt to load a version, if it failed.
    failures: BTreeMap<VersionKey, Failure>,
    invalid: BTreeMap<String, InvalidFolder>,
    /// Models that a client unloaded.
    unloaded: BTreeSet<String>,
}

/// A loaded version.
#[derive(Debug)]
struct Loaded<T> {
    files: VersionFiles,
    /// The digest of the content of its files.
    digest: String,
    version: T,
}

/// A version that cannot be loaded.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) files: VersionFiles,
    pub(super) reason: String,
}

/// A version to load.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlannedLoad {
    pub(super) key: VersionKey,
    pub(super) files: VersionFiles,
    /// The digest of the loaded version that it would replace.
    pub(super) loaded_digest: Option<String>,
}

/// The state of a version in the repository.
#[derive(Clone, Copy, Debug)]
pub(super) struct VersionReport<'a> {
    pub(super) key: &'a VersionKey,
    pub(super) is_loaded: bool,
    pub(super) is_unloaded: bool,
    pub(super) failure: Option<&'a Failure>,
}

impl<T> Reconciler<T> {
    pub(super) fn new(reserved: BTreeSet<String>) -> Self {
        Self {
            reserved,
            desired: BTreeMap::new(),
            changing: BTreeSet::new(),
            loaded: BTreeMap::new(),
            failures: BTreeMap::new(),
            invalid: BTreeMap::new(),
            unloaded: BTreeSet::new(),
        }
    }

    /// Takes over the result of a scan. A version that changed since the previous scan stays as it is. Returns the
    /// folders that have become invalid.
    pub(super) fn observe(&mut self, scan: Scan) -> Vec<InvalidFolder> {
        let mut invalid = scan.invalid;
        self.desired.clear();
        self.changing.clear();
        for (key, files) in scan.versions {
            if self.reserved.contains(&key.model) {
                let reason = "a model outside --models has this name. Rename the folder.".to_string();
                let path = files.map(|files| files.model_folder).unwrap_or_else(|| key.model.clone().into());
                invalid.entry(key.model).or_insert(InvalidFolder { path, reason });
                continue;
            }
            if files.is_none() {
                self.changing.insert(key.clone());
            }
            // A version that still changes is not opened, but what is known of it stays.
            let known = || self.loaded.get(&key).map(|loaded| &loaded.files);
            let failed = || self.failures.get(&key).map(|failure| &failure.files);
            if let Some(files) = files.or_else(|| known().or_else(failed).cloned()) {
                self.desired.insert(key, files);
            }
        }
        self.failures.retain(|key, _| self.desired.contains_key(key));
        let is_new = |(name, folder): &(&String, &InvalidFolder)| self.invalid.get(*name) != Some(*folder);
        let new = invalid.iter().filter(is_new).map(|(_, folder)| folder.clone()).collect();
        self.invalid = invalid;
        new
    }

    /// Returns the next version to load: desired, and neither loaded nor known to fail with these files. The highest
    /// version of a model comes first.
    pub(super) fn next_load(&self) -> Option<PlannedLoad> {
        self.pending().next().map(|(key, files)| PlannedLoad {
            key: key.clone(),
            files: files.clone(),
            loaded_digest: self.loaded.get(key).map(|loaded| loaded.digest.clone()),
        })
    }

    /// Returns whether versions of a model wait to be loaded.
    pub(super) fn is_pending(&self, model: &str) -> bool {
        self.pending().any(|(key, _)| key.model == model)
    }

    fn pending(&self) -> impl Iterator<Item = (&VersionKey, &VersionFiles)> {
        self.desired.iter().filter(|(key, files)| {
            let is_loaded = self.loaded.get(key).is_some_and(|loaded| loaded.files == **files);
            let has_failed = self.failures.get(key).is_some_and(|failure| failure.files == **files);
            !self.unloaded.contains(&key.model) && !is_loaded && !has_failed
        })
    }

    /// Adds a loaded version. Returns the version that it replaces.
    pub(super) fn add(&mut self, load: PlannedLoad, digest: String, version: T) -> Option<T> {
        self.failures.remove(&load.key);
        let loaded = Loaded { files: load.files, digest, version };
        self.loaded.insert(load.key, loaded).map(|replaced| replaced.version)
    }

    /// Records that the files of a loaded version changed, but not their content.
    pub(super) fn keep(&mut self, load: PlannedLoad) {
        self.failures.remove(&load.key);
        if let Some(loaded) = self.loaded.get_mut(&load.key) {
            loaded.files = load.files;
        }
    }

    /// Records that a version cannot be loaded. What is loaded stays. It is tried again when its files change.
    pub(super) fn reject(&mut self, load: PlannedLoad, reason: String) {
        if self.desired.contains_key(&load.key) {
            self.failures.insert(load.key, Failure { files: load.files, reason });
        }
    }

    /// Removes and returns the versions that no longer serve. A version whose files were removed stays if another
    /// version of the model is desired and none of them is loaded.
    pub(super) fn take_unused(&mut self) -> Vec<T> {
        let Self { desired, changing, loaded, unloaded, .. } = self;
        let is_kept = |key: &VersionKey| {
            // A version that is still being copied will be desired.
            let all = desired.keys().chain(changing.iter());
            let mut wanted = all.filter(|other| other.model == key.model).peekable();
            let is_replacement_missing = wanted.peek().is_some() && !wanted.any(|other| loaded.contains_key(other));
            !unloaded.contains(&key.model) && (desired.contains_key(key) || is_replacement_missing)
        };
        let unused: Vec<VersionKey> = loaded.keys().filter(|key| !is_kept(key)).cloned().collect();
        unused.iter().filter_map(|key| loaded.remove(key)).map(|loaded| loaded.version).collect()
    }

    /// Serves a model again, and tries again to load its versions that failed. Returns false if the repository has no
    /// such model.
    pub(super) fn retry(&mut self, model: &str) -> bool {
        self.unloaded.remove(model);
        self.failures.retain(|key, _| key.model != model);
        self.desired.keys().any(|key| key.model == model) || self.invalid.contains_key(model)
    }

    /// Removes a model from serving until [`Self::retry`]. Returns false if the repository has no such model.
    pub(super) fn unload(&mut self, model: &str) -> bool {
        let is_known = self.desired.keys().chain(self.loaded.keys()).any(|key| key.model == model);
        if is_known {
            self.unloaded.insert(model.to_string());
        }
        is_known || (self.invalid.contains_key(model) && !self.reserved.contains(model))
    }

    /// Returns why the newest version of a model is not loaded, if it is not.
    pub(super) fn error(&self, model: &str) -> Option<&str> {
        let newest = self.desired.keys().find(|key| key.model == model);
        let failure = newest.and_then(|key| self.failures.get(key)).map(|failure| &failure.reason);
        failure.or_else(|| self.invalid.get(model).map(|folder| &folder.reason)).map(String::as_str)
    }

    /// Returns the loaded versions, ordered by model; those of a model by version, the highest first.
    pub(super) fn loaded(&self) -> impl Iterator<Item = (&VersionKey, &T)> {
        self.loaded.iter().map(|(key, loaded)| (key, &loaded.version))
    }

    pub(super) fn into_loaded(self) -> impl Iterator<Item = T> {
        self.loaded.into_values().map(|loaded| loaded.version)
    }

    /// Returns the state of each version, in the order of [`Self::loaded`].
    pub(super) fn report(&self) -> Vec<VersionReport<'_>> {
        let keys: BTreeSet<&VersionKey> = self.desired.keys().chain(self.loaded.keys()).collect();
        let report = |key| VersionReport {
            key,
            is_loaded: self.loaded.contains_key(key),
            is_unloaded: self.unloaded.contains(&key.model),
            failure: self.failures.get(key),
        };
        keys.into_iter().map(report).collect()
    }

    /// Returns the folders without a version, by the model's name.
    pub(super) fn invalid(&self) -> &BTreeMap<String, InvalidFolder> {
        &self.invalid
    }
}
