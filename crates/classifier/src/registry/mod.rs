//! Model name and version -> classifier. Empty while the models are being loaded, and exchanged as a whole when versions change:
//! who has a classifier keeps it for as long as he needs it. `versions.rs` has those of one model.

#[cfg(test)]
mod tests;
mod versions;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::Classifier;
use kiln_inference::model::Label;

pub use versions::{Version, Versions};

/// The classifiers that are ready. Cheap to clone; clones are one registry.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<RwLock<Option<Arc<Table>>>>);

/// All that is served at one moment.
#[derive(Debug)]
struct Table {
    default: String,
    models: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    versions: Versions,
    /// Requests that named no version.
    unversioned: AtomicU64,
}

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Models are still being loaded.
    #[error("the models are still being loaded")]
    Starting,
    /// There is no such model.
    #[error("there is no model '{name}'; there is {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The model has no such version.
    #[error("model '{name}' has no version '{version}'; it has {known}")]
    UnknownVersion {
        /// The model.
        name: String,
        /// What was asked for.
        version: String,
        /// What there is.
        known: String,
    },
}

impl Registry {
    /// Opens for business with one version of each model. `default` is the model of requests that name none.
    pub fn open(&self, default: String, classifiers: Vec<Classifier>) {
        let alone = |stable| Versions { stable: Arc::new(stable), canary: None, shadow: None };
        self.serve(default, classifiers.into_iter().map(alone).collect());
    }

    /// From now on these are served and no others. Requests that have a classifier keep it.
    pub fn serve(&self, default: String, models: Vec<Versions>) {
        let models = models.into_iter().map(|versions| Entry { versions, unversioned: AtomicU64::new(0) }).collect();
        let next = Some(Arc::new(Table { default, models }));
        let before = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), next);
        // Only now, for it takes the lock's time to drop classifiers.
        drop(before);
    }

    /// The classifier that is to answer a request, whose name and version may each be left to the server. A version may be
    /// asked for by its label, `stable` or `canary`. Of the requests that name none, the canary gets its share.
    ///
    /// # Errors
    ///
    /// Nothing is loaded yet, or there is no such model or version.
    pub fn resolve(&self, name: Option<&str>, version: Option<&str>) -> Result<Arc<Classifier>, LookupError> {
        let table = self.table()?;
        let entry = table.entry(name)?;
        match version {
            Some(version) => entry.versions.named(version),
            None => Ok(Arc::clone(entry.next())),
        }
    }

    /// The same for who wants to know of it and not to have a picture classified: the canary's share does not count him.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn find(&self, name: Option<&str>, version: Option<&str>) -> Result<Arc<Classifier>, LookupError> {
        self.table()?.entry(name)?.versions.named(version.unwrap_or(Label::Stable.word()))
    }

    /// The loaded versions of a model, the stable one first.
    ///
    /// # Errors
    ///
    /// Nothing is loaded yet, or there is no such model.
    pub fn versions(&self, name: &str) -> Result<Vec<Version>, LookupError> {
        Ok(self.table()?.entry(Some(name))?.versions.list())
    }

    /// Every model's loaded versions, in the order of the models' names.
    ///
    /// # Errors
    ///
    /// Nothing is loaded yet.
    pub fn all(&self) -> Result<Vec<Vec<Version>>, LookupError> {
        Ok(self.table()?.models.iter().map(|entry| entry.versions.list()).collect())
    }

    /// The name of the model that answers where none is named, once loaded.
    pub fn default_model(&self) -> Option<String> {
        self.table().ok().map(|table| table.default.clone())
    }

    fn table(&self) -> Result<Arc<Table>, LookupError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(LookupError::Starting)
    }
}

impl Table {
    fn entry(&self, name: Option<&str>) -> Result<&Entry, LookupError> {
        let name = name.unwrap_or(&self.default);
        let of = |entry: &Entry| entry.versions.stable.model().spec().name;
        self.models.iter().find(|entry| of(entry) == name).ok_or_else(|| LookupError::UnknownModel {
            name: name.to_string(),
            known: list(self.models.iter().map(of)),
        })
    }
}

impl Entry {
    /// Who answers the next request that names no version: the canary's share of them is spread evenly.
    fn next(&self) -> &Arc<Classifier> {
        let Some((canary, share)) = &self.versions.canary else { return &self.versions.stable };
        let before = self.unversioned.fetch_add(1, Ordering::Relaxed);
        let turns = |requests: u64| (requests as f64 * share).floor();
        if turns(before + 1) > turns(before) { canary } else { &self.versions.stable }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
