//! A version's folder: how one is added, listed and read.

use std::fs;
use std::path::Path;

use super::manifest::Manifest;
use super::{Store, StoreError, disk, golden, name};
use crate::model::{Model, Weights};

pub(super) const MANIFEST: &str = "manifest.toml";
pub(super) const WEIGHTS: &str = "weights.bpk";

/// A version's name, and its manifest or what is wrong with that.
pub type Listed = (String, Result<Manifest, StoreError>);

impl Store {
    /// Adds a version of `model` under the next number that is free, and gives back its name. It has no label. `golden` are
    /// its logits of the synthetic picture, which every engine is then held to.
    ///
    /// Whether the weights fit is not looked at; servers refuse those that do not.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn add(
        &self,
        model: &Model,
        weights: &Weights,
        origin: &str,
        golden: Option<&[f32]>,
    ) -> Result<String, StoreError> {
        let mut number = self.next_number(model)?;
        loop {
            let version = number.to_string();
            match self.add_as(model, &version, weights, origin, golden) {
                // Somebody else has taken it meanwhile, or it is the name of a file.
                Err(StoreError::Taken { .. }) => number += 1,
                outcome => return outcome.map(|()| version),
            }
        }
    }

    /// [`Store::add`] under a name that the caller chose.
    ///
    /// # Errors
    ///
    /// The name cannot be or is taken, or the version cannot be written.
    pub fn add_as(
        &self,
        model: &Model,
        version: &str,
        weights: &Weights,
        origin: &str,
        golden: Option<&[f32]>,
    ) -> Result<(), StoreError> {
        name::check_version(version)?;
        let folder = self.of(model.spec().name)?;
        let place = folder.join(version);
        if version == model.spec().version || place.exists() {
            return Err(StoreError::Taken { version: version.to_string() });
        }
        let manifest = Manifest {
            name: model.spec().name.to_string(),
            version: version.to_string(),
            weights: format!("sha256:{}", weights.sha256()),
            graph: graph(model),
            created: Manifest::now(),
            origin: origin.to_string(),
            golden: golden.is_some(),
        };
        disk::make(&folder)?;
        disk::new_folder(&place, |inside| {
            inside.write(WEIGHTS, weights.bytes())?;
            if let Some(logits) = golden {
                inside.write(golden::FILE, golden::text(logits).as_bytes())?;
            }
            inside.write(MANIFEST, manifest.to_toml().as_bytes())
        })
        .map_err(|error| match error {
            StoreError::Io { error, .. } if disk::is_taken(&error) => {
                StoreError::Taken { version: version.to_string() }
            }
            other => other,
        })
    }

    /// Every version that was added, in the order of their names (numbers by their value), with its manifest or what is wrong
    /// with it.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn versions(&self, model: &Model) -> Result<Vec<Listed>, StoreError> {
        let folder = self.of(model.spec().name)?;
        let mut names = disk::folders(&folder)?;
        names.retain(|name| name::check_version(name).is_ok() && *name != model.spec().version);
        names.sort_by_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
        Ok(names
            .into_iter()
            .map(|name| (self.manifest(model, &name), name))
            .map(|(found, name)| (name, found))
            .collect())
    }

    /// A version of `model`, ready to be loaded; the one that was built in under its own name.
    ///
    /// # Errors
    ///
    /// There is no such version, its files are damaged, or it was made for another graph.
    pub fn read(&self, model: &Model, version: &str) -> Result<Model, StoreError> {
        if version == model.spec().version {
            return Ok(model.clone());
        }
        let manifest = self.manifest(model, version)?;
        let folder = self.of(model.spec().name)?.join(version);
        if manifest.graph != graph(model) {
            return Err(StoreError::OtherGraph { version: version.to_string() });
        }
        let path = folder.join(WEIGHTS);
        let weights = read_weights(&path, model)?;
        let found = format!("sha256:{}", weights.sha256());
        if found != manifest.weights {
            return Err(StoreError::Digest { path, found, expected: manifest.weights });
        }
        let golden = manifest.golden.then(|| golden::read(&folder, model)).transpose()?;
        Ok(model.with_weights_and_golden(version, weights, golden))
    }

    fn manifest(&self, model: &Model, version: &str) -> Result<Manifest, StoreError> {
        name::check_version(version)?;
        let path = self.of(model.spec().name)?.join(version).join(MANIFEST);
        let found = Manifest::read(&path, model.spec().name, version)?;
        found.ok_or_else(|| StoreError::NoSuchVersion { version: version.to_string(), known: Vec::new() })
    }

    fn next_number(&self, model: &Model) -> Result<u64, StoreError> {
        let taken = disk::folders(&self.of(model.spec().name)?)?;
        let numbers = taken.iter().map(String::as_str).chain([model.spec().version]);
        let largest = numbers.filter_map(|name| name.parse::<u32>().ok()).max().unwrap_or(0);
        Ok(u64::from(largest) + 1)
    }
}

fn graph(model: &Model) -> String {
    format!("sha256:{}", model.spec().sha256)
}

/// A file of weights for `model`, no larger than any that fits.
///
/// # Errors
///
/// It cannot be read, or is too large.
pub fn read_weights(path: &Path, model: &Model) -> Result<Weights, StoreError> {
    let most = model.built_in().most_weight_bytes();
    disk::read(path, most).map(Weights::new)
}

/// Writes weights to a file of the caller's choice, which must not be there yet.
///
/// # Errors
///
/// It is there, or cannot be written.
pub fn write_weights(path: &Path, weights: &Weights) -> Result<(), StoreError> {
    let failed = |error| StoreError::io(path, error);
    let mut file = fs::File::create_new(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, weights.bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
