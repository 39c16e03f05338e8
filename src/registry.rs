//! Model name and version -> classifier. Empty while the models are being loaded, and exchanged as a whole when versions change:
//! who has a classifier keeps it for as long as he needs it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::classifier::Classifier;
use crate::model::Label;

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

/// The loaded versions of one model.
#[derive(Clone, Debug)]
pub struct Versions {
    /// Who answers.
    pub stable: Classifier,
    /// Who answers this part, in 0..=1, of the requests that name no version.
    pub canary: Option<(Classifier, f64)>,
    /// Whose answers are compared with the stable ones. It may be the canary.
    pub shadow: Option<Classifier>,
}

/// One version, and what it is there for.
#[derive(Clone, Debug)]
pub struct Version {
    /// What classifies with it.
    pub classifier: Classifier,
    /// At least one.
    pub labels: Vec<Label>,
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
        let alone = |stable| Versions { stable, canary: None, shadow: None };
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
    pub fn resolve(&self, name: Option<&str>, version: Option<&str>) -> Result<Classifier, LookupError> {
        let table = self.table()?;
        let entry = table.entry(name)?;
        match version {
            Some(version) => entry.versions.named(version),
            None => Ok(entry.next().clone()),
        }
    }

    /// The same for who wants to know of it and not to have a picture classified: the canary's share does not count him.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn find(&self, name: Option<&str>, version: Option<&str>) -> Result<Classifier, LookupError> {
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
    fn next(&self) -> &Classifier {
        let Some((canary, share)) = &self.versions.canary else { return &self.versions.stable };
        let before = self.unversioned.fetch_add(1, Ordering::Relaxed);
        let turns = |requests: u64| (requests as f64 * share).floor();
        if turns(before + 1) > turns(before) { canary } else { &self.versions.stable }
    }
}

impl Versions {
    fn named(&self, version: &str) -> Result<Classifier, LookupError> {
        let all = self.list();
        let is_meant = |each: &&Version| {
            let by_label = each.labels.iter().any(|label| *label != Label::Shadow && label.word() == version);
            by_label || each.classifier.model().version() == version
        };
        all.iter().find(is_meant).map(|each| each.classifier.clone()).ok_or_else(|| LookupError::UnknownVersion {
            name: self.stable.model().spec().name.to_string(),
            version: version.to_string(),
            known: list(all.iter().map(|each| each.classifier.model().version())),
        })
    }

    fn list(&self) -> Vec<Version> {
        let mut all: Vec<Version> = Vec::new();
        let canary = self.canary.as_ref().map(|(canary, _)| canary);
        let labelled =
            [(Some(&self.stable), Label::Stable), (canary, Label::Canary), (self.shadow.as_ref(), Label::Shadow)];
        for (classifier, label) in labelled.into_iter().filter_map(|(found, label)| Some((found?, label))) {
            let version = classifier.model().version();
            match all.iter_mut().find(|each| each.classifier.model().version() == version) {
                Some(known) => known.labels.push(label),
                None => all.push(Version { classifier: classifier.clone(), labels: vec![label] }),
            }
        }
        all
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batching::Config;
    use crate::classifier::tests::idle;
    use crate::image::DecodePool;
    use crate::model::{Model, Weights};

    fn classifier(model: Model) -> Classifier {
        idle(model, Config::default(), DecodePool::new(1)).0
    }

    fn found(registry: &Registry, name: Option<&str>, version: Option<&str>) -> Result<(&'static str, String), String> {
        let model = registry.resolve(name, version).map(|classifier| classifier.model().clone());
        model.map(|model| (model.spec().name, model.version().to_string())).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_request_gets_the_model_that_it_names_and_else_the_default() {
        let registry = Registry::default();
        assert_eq!(registry.resolve(None, None).unwrap_err(), LookupError::Starting);
        let [cat, dog] = [("cat", "1"), ("dog", "7")].map(|(name, version)| classifier(Model::made_up(name, version)));
        registry.open("dog".to_string(), vec![cat, dog]);
        let found = |name, version| found(&registry, name, version);
        let is = |name, version: &str| Ok((name, version.to_string()));
        assert_eq!(found(None, None), is("dog", "7"));
        assert_eq!(found(Some("cat"), None), is("cat", "1"));
        assert_eq!(found(Some("dog"), Some("7")), is("dog", "7"));
        assert_eq!(found(Some("dog"), Some("stable")), is("dog", "7"));
        assert_eq!(found(Some("cow"), None), Err("there is no model 'cow'; there is 'cat', 'dog'".to_string()));
        assert_eq!(found(Some("cat"), Some("7")), Err("model 'cat' has no version '7'; it has '1'".to_string()));
        assert_eq!(found(None, Some("1")), Err("model 'dog' has no version '1'; it has '7'".to_string()));
    }

    #[tokio::test]
    async fn the_canary_gets_its_share_of_those_who_name_no_version_and_the_shadow_nobody() {
        let registry = Registry::default();
        let cat = Model::made_up("cat", "1");
        let other = |version| classifier(cat.with_weights(version, Weights::new(Vec::new())));
        let (stable, canary, shadow) = (classifier(cat.clone()), Some((other("2"), 0.1)), Some(other("3")));
        registry.serve("cat".to_string(), vec![Versions { stable, canary, shadow }]);
        let versions: Vec<String> = (0..40).map(|_| found(&registry, None, None).unwrap().1).collect();
        assert_eq!(versions.iter().filter(|version| *version == "2").count(), 4, "{versions:?}");
        assert!(versions.chunks(10).all(|ten| ten.contains(&"2".to_string())), "not evenly: {versions:?}");
        assert!(!versions.contains(&"3".to_string()), "{versions:?}");
        for (asked, version) in [("stable", "1"), ("canary", "2"), ("1", "1"), ("2", "2"), ("3", "3")] {
            assert_eq!(found(&registry, Some("cat"), Some(asked)).unwrap().1, version);
        }
        let unknown = "model 'cat' has no version 'shadow'; it has '1', '2', '3'";
        assert_eq!(found(&registry, None, Some("shadow")).unwrap_err(), unknown);
        assert_eq!(registry.find(None, None).unwrap().model().version(), "1");
        let labels = |all: Vec<Version>| all.into_iter().map(|each| each.labels).collect::<Vec<_>>();
        let each = [Label::Stable, Label::Canary, Label::Shadow].map(|label| vec![label]);
        assert_eq!(labels(registry.versions("cat").unwrap()), each);
    }

    #[tokio::test]
    async fn one_version_may_be_canary_and_shadow_and_is_one_of_two() {
        let registry = Registry::default();
        let cat = Model::made_up("cat", "1");
        let tried = classifier(cat.with_weights("2", Weights::new(Vec::new())));
        let (canary, shadow) = (Some((tried.clone(), 1.0)), Some(tried));
        registry.serve("cat".to_string(), vec![Versions { stable: classifier(cat), canary, shadow }]);
        let all = registry.all().unwrap().remove(0);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].labels, [Label::Canary, Label::Shadow]);
        assert_eq!(found(&registry, None, None).unwrap().1, "2", "a share of 1 is everybody");
    }
}
