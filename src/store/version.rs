//! A version's folder: how one is added, listed and read.

use std::path::Path;

use super::manifest::Manifest;
use super::{Store, StoreError, disk, golden, hidden, name, numbers};
use kiln_inference::model::{Model, Weights};

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
        self.take_in(model, None, weights, origin, golden)
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
        self.take_in(model, Some(version), weights, origin, golden).map(drop)
    }

    /// Writes a version while nobody else changes anything, and gives back its name.
    fn take_in(
        &self,
        model: &Model,
        named: Option<&str>,
        weights: &Weights,
        origin: &str,
        golden: Option<&[f32]>,
    ) -> Result<String, StoreError> {
        named.map_or(Ok(()), name::check_version)?;
        let (folder, built_in) = (self.of(model.spec().name)?, model.spec().version);
        disk::make(&folder)?;
        let _lock = disk::lock(&folder)?;
        hidden::sweep(&folder);
        let is_taken = |version: &str| version == built_in || folder.join(version).exists();
        let version = match named {
            Some(version) if is_taken(version) => return Err(StoreError::Taken { version: version.to_string() }),
            Some(version) => version.to_string(),
            // It may be the name of a file.
            None => {
                let mut names = (numbers::next(&folder, built_in)?..).map(|number| number.to_string());
                names.find(|name| !is_taken(name)).expect("there are more numbers than files")
            }
        };
        let golden = golden.map(golden::text);
        let manifest = Manifest {
            name: model.spec().name.to_string(),
            version: version.clone(),
            weights: digest_of(weights),
            graph: graph(model),
            created: Manifest::now(),
            origin: origin.to_string(),
            golden: golden.as_deref().map_or(golden::NONE.to_string(), golden::digest),
        };
        numbers::remember(&folder, &version)?;
        disk::new_folder(&folder.join(&version), |inside| {
            inside.write(WEIGHTS, weights.bytes())?;
            if let Some(text) = &golden {
                inside.write(golden::FILE, text.as_bytes())?;
            }
            inside.write(MANIFEST, manifest.to_toml().as_bytes())
        })?;
        Ok(version)
    }

    /// Every version that was added, in the order of their names (numbers by their value), with its manifest or what is wrong
    /// with it. What has the name of the one that was built in is wrong by that alone.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn versions(&self, model: &Model) -> Result<Vec<Listed>, StoreError> {
        let mut names = disk::folders(&self.of(model.spec().name)?)?;
        let mut namesake = self.found_namesake(model)?;
        let is_own = |name: &String| *name == model.spec().version && namesake.is_none();
        names.retain(|name| name::check_version(name).is_ok() && !is_own(name));
        names.sort_by_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
        let listed = |name: String| {
            let found = self.manifest(model, &name);
            match namesake.take_if(|_| name == model.spec().version) {
                Some((namesake, _)) => (name, Err(namesake)),
                None => (name, found),
            }
        };
        Ok(names.into_iter().map(listed).collect())
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
        let found = digest_of(&weights);
        if found != manifest.weights {
            return Err(StoreError::Digest { path, found, expected: manifest.weights });
        }
        let golden = manifest.has_golden().then(|| golden::read(&folder, model, &manifest.golden)).transpose()?;
        Ok(model.with_weights_and_reference(version, weights, golden))
    }

    /// What is known of a version that was added.
    ///
    /// # Errors
    ///
    /// There is none of that name, or its manifest is damaged.
    pub fn manifest(&self, model: &Model, version: &str) -> Result<Manifest, StoreError> {
        name::check_version(version)?;
        let path = self.of(model.spec().name)?.join(version).join(MANIFEST);
        let found = Manifest::read(&path, model.spec().name, version)?;
        found.ok_or_else(|| StoreError::NoSuchVersion { version: version.to_string(), known: Vec::new() })
    }
}

/// `sha256:<hex>` of the file that a model's graph was made from.
pub(super) fn graph(model: &Model) -> String {
    format!("sha256:{}", model.spec().sha256)
}

fn digest_of(weights: &Weights) -> String {
    format!("sha256:{}", weights.sha256())
}

/// A file of weights for `model`, no larger than any that fits.
///
/// # Errors
///
/// It cannot be read, or is too large.
pub fn read_weights(path: &Path, model: &Model) -> Result<Weights, StoreError> {
    let most = model.built_in().max_weight_bytes();
    disk::read(path, most).map(Weights::new)
}

/// Writes weights to a file of the caller's choice, which must not be there yet.
///
/// # Errors
///
/// It is there, or cannot be written; nothing of it stays then.
pub fn write_weights(path: &Path, weights: &Weights) -> Result<(), StoreError> {
    disk::write_new(path, weights.bytes()).map_err(|error| StoreError::io(path, error))
}
