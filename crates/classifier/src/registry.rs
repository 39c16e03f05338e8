//! The registry of models: model name and version to classifier. It is empty while the models are being loaded, and it
//! is replaced as a whole if versions change. A request keeps the classifier that it got for as long as it needs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::classifier::Classifier;
use kiln_inference::model::VersionLabel;

/// The classifiers that are ready. Cheap to clone; clones share one table.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<ArcSwapOption<Table>>);

/// Everything that is served at one moment.
#[derive(Debug)]
struct Table {
    default_model: String,
    models: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    versions: Versions,
    /// The number of requests without a version.
    unversioned: AtomicU64,
}

/// Why there is no classifier for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The models are still being loaded.
    #[error("the models are still being loaded")]
    Starting,
    /// There is no model with this name.
    #[error("unknown model '{name}'; the server has {known}")]
    UnknownModel {
        /// The requested name.
        name: String,
        /// The known names.
        known: String,
    },
    /// The model has no such version.
    #[error("model '{name}' has no version '{version}'; it has {known}")]
    UnknownVersion {
        /// The model.
        name: String,
        /// The requested version.
        version: String,
        /// The known versions.
        known: String,
    },
}

impl Registry {
    /// Replaces all models by one version of each. `default_model` is the model of requests without a model name.
    pub fn replace_with_stable(&self, default_model: String, classifiers: Vec<Classifier>) {
        let stable_only = |stable| Versions::stable_only(Arc::new(stable));
        self.replace(default_model, classifiers.into_iter().map(stable_only).collect());
    }

    /// Replaces all models. Requests that already have a classifier keep it.
    pub fn replace(&self, default_model: String, models: Vec<Versions>) {
        let models = models.into_iter().map(|versions| Entry { versions, unversioned: AtomicU64::new(0) }).collect();
        self.0.store(Some(Arc::new(Table { default_model, models })));
    }

    /// Returns the classifier for a request. Without a name it is the default model. The version may be a label,
    /// `stable` or `canary`. Of the requests without a version, the canary gets its share.
    ///
    /// # Errors
    ///
    /// Returns an error if the models are not loaded yet, or if there is no such model or version.
    pub fn resolve(&self, name: Option<&str>, version: Option<&str>) -> Result<Arc<Classifier>, LookupError> {
        let table = self.table()?;
        let entry = table.entry(name)?;
        match version {
            Some(version) => entry.versions.find(version),
            None => Ok(Arc::clone(entry.next())),
        }
    }

    /// Returns the classifier of a model for a request that only reads information. Without a version it is the stable
    /// one; such a request does not count for the canary's share.
    ///
    /// # Errors
    ///
    /// Returns an error if the models are not loaded yet, or if there is no such model or version.
    pub fn find(&self, name: Option<&str>, version: Option<&str>) -> Result<Arc<Classifier>, LookupError> {
        self.table()?.entry(name)?.versions.find(version.unwrap_or(VersionLabel::Stable.as_str()))
    }

    /// Returns the loaded versions of a model, the stable one first.
    ///
    /// # Errors
    ///
    /// Returns an error if the models are not loaded yet, or if there is no such model.
    pub fn versions(&self, name: &str) -> Result<Vec<Version>, LookupError> {
        Ok(self.table()?.entry(Some(name))?.versions.list())
    }

    /// Returns the loaded versions of every model, ordered by model name.
    ///
    /// # Errors
    ///
    /// Returns an error if the models are not loaded yet.
    pub fn all(&self) -> Result<Vec<Vec<Version>>, LookupError> {
        Ok(self.table()?.models.iter().map(|entry| entry.versions.list()).collect())
    }

    /// Returns the name of the default model, or nothing if the models are not loaded yet.
    pub fn default_model(&self) -> Option<String> {
        self.table().ok().map(|table| table.default_model.clone())
    }

    fn table(&self) -> Result<Arc<Table>, LookupError> {
        self.0.load_full().ok_or(LookupError::Starting)
    }
}

impl Table {
    fn entry(&self, name: Option<&str>) -> Result<&Entry, LookupError> {
        let name = name.unwrap_or(&self.default_model);
        self.models.iter().find(|entry| entry.name() == name).ok_or_else(|| LookupError::UnknownModel {
            name: name.to_string(),
            known: match self.models.is_empty() {
                true => "no models".to_string(),
                false => quoted_list(self.models.iter().map(Entry::name)),
            },
        })
    }
}

impl Entry {
    /// Returns the name of the model.
    fn name(&self) -> &str {
        self.versions.stable.model().name()
    }

    /// Returns the classifier for the next request without a version. The canary's requests are evenly distributed.
    fn next(&self) -> &Arc<Classifier> {
        let Some((canary, share)) = &self.versions.canary else { return &self.versions.stable };
        let before = self.unversioned.fetch_add(1, Ordering::Relaxed);
        let canary_requests = |requests: u64| (requests as f64 * share).floor();
        if canary_requests(before + 1) > canary_requests(before) { canary } else { &self.versions.stable }
    }
}

/// The loaded versions of one model.
#[derive(Clone, Debug)]
pub struct Versions {
    /// The version for requests that request no other.
    pub stable: Arc<Classifier>,
    /// The canary, and its share of the requests without a version, from 0 to 1.
    pub canary: Option<(Arc<Classifier>, f64)>,
    /// The version whose predictions are only compared with the stable ones. It may also be the canary.
    pub shadow: Option<Arc<Classifier>>,
    /// Versions without a label, which serve only the requests that name them.
    pub others: Vec<Arc<Classifier>>,
}

/// One version and its labels.
#[derive(Clone, Debug)]
pub struct Version {
    /// The classifier of the version.
    pub classifier: Arc<Classifier>,
    /// The labels; empty for a version that serves only the requests that name it.
    pub labels: Vec<VersionLabel>,
}

impl Versions {
    /// Returns the versions of a model that has one.
    pub fn stable_only(stable: Arc<Classifier>) -> Self {
        Self { stable, canary: None, shadow: None, others: Vec::new() }
    }

    /// Returns the version with this name or label.
    fn find(&self, version: &str) -> Result<Arc<Classifier>, LookupError> {
        let matches = |(classifier, label): &(&Arc<Classifier>, VersionLabel)| {
            (*label != VersionLabel::Shadow && label.as_str() == version) || classifier.model().version() == version
        };
        let labelled = self.labelled().find(matches).map(|(classifier, _)| classifier);
        let other = || self.others.iter().find(|classifier| classifier.model().version() == version);
        labelled.or_else(other).cloned().ok_or_else(|| LookupError::UnknownVersion {
            name: self.stable.model().name().to_string(),
            version: version.to_string(),
            known: quoted_list(self.list().iter().map(|each| each.classifier.model().version())),
        })
    }

    /// Returns all versions, the stable one first and those without a label last.
    fn list(&self) -> Vec<Version> {
        let mut all: Vec<Version> = Vec::new();
        for (classifier, label) in self.labelled() {
            let version = classifier.model().version();
            match all.iter_mut().find(|each| each.classifier.model().version() == version) {
                Some(known) => known.labels.push(label),
                None => all.push(Version { classifier: Arc::clone(classifier), labels: vec![label] }),
            }
        }
        let unlabelled =
            |classifier: &Arc<Classifier>| Version { classifier: Arc::clone(classifier), labels: Vec::new() };
        all.extend(self.others.iter().map(unlabelled));
        all
    }

    /// Iterates over the labels and their classifiers. Two labels may have the same version.
    fn labelled(&self) -> impl Iterator<Item = (&Arc<Classifier>, VersionLabel)> {
        let canary = self.canary.iter().map(|(canary, _)| (canary, VersionLabel::Canary));
        let shadow = self.shadow.iter().map(|shadow| (shadow, VersionLabel::Shadow));
        std::iter::once((&self.stable, VersionLabel::Stable)).chain(canary).chain(shadow)
    }
}

fn quoted_list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batching::Config;
    use crate::test_support::idle;
    use kiln_image::DecodePool;
    use kiln_inference::model::{Model, Weights};

    fn classifier(model: Model) -> Arc<Classifier> {
        Arc::new(idle(model, Config::default(), DecodePool::new(1).unwrap()).0)
    }

    fn resolved(registry: &Registry, name: Option<&str>, version: Option<&str>) -> Result<(String, String), String> {
        let model = registry.resolve(name, version).map(|classifier| classifier.model().clone());
        model.map(|model| (model.name().to_string(), model.version().to_string())).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn request_gets_the_model_that_it_names_or_the_default() {
        let registry = Registry::default();
        assert_eq!(registry.resolve(None, None).unwrap_err(), LookupError::Starting);
        let [cat, dog] = [("cat", "1"), ("dog", "7")].map(|(name, version)| classifier(Model::for_test(name, version)));
        registry.replace("dog".to_string(), [cat, dog].map(Versions::stable_only).into());
        let resolved = |name, version| resolved(&registry, name, version);
        let model = |name: &str, version: &str| Ok((name.to_string(), version.to_string()));
        assert_eq!(resolved(None, None), model("dog", "7"));
        assert_eq!(resolved(Some("cat"), None), model("cat", "1"));
        assert_eq!(resolved(Some("dog"), Some("7")), model("dog", "7"));
        assert_eq!(resolved(Some("dog"), Some("stable")), model("dog", "7"));
        let unknown = "unknown model 'cow'; the server has 'cat', 'dog'";
        assert_eq!(resolved(Some("cow"), None), Err(unknown.to_string()));
        assert_eq!(resolved(Some("cat"), Some("7")), Err("model 'cat' has no version '7'; it has '1'".to_string()));
        assert_eq!(resolved(None, Some("1")), Err("model 'dog' has no version '1'; it has '7'".to_string()));
    }

    #[tokio::test]
    async fn canary_gets_its_share_of_requests_without_a_version_and_shadow_gets_none() {
        let registry = Registry::default();
        let cat = Model::for_test("cat", "1");
        let other = |version| classifier(cat.with_weights(version, Weights::new(Vec::new())));
        let (stable, canary, shadow) = (classifier(cat.clone()), Some((other("2"), 0.1)), Some(other("3")));
        registry.replace("cat".to_string(), vec![Versions { canary, shadow, ..Versions::stable_only(stable) }]);
        let versions: Vec<String> = (0..40).map(|_| resolved(&registry, None, None).unwrap().1).collect();
        assert_eq!(versions.iter().filter(|version| *version == "2").count(), 4, "{versions:?}");
        assert!(versions.chunks(10).all(|ten| ten.contains(&"2".to_string())), "not evenly: {versions:?}");
        assert!(!versions.contains(&"3".to_string()), "{versions:?}");
        for (requested, version) in [("stable", "1"), ("canary", "2"), ("1", "1"), ("2", "2"), ("3", "3")] {
            assert_eq!(resolved(&registry, Some("cat"), Some(requested)).unwrap().1, version);
        }
        let unknown = "model 'cat' has no version 'shadow'; it has '1', '2', '3'";
        assert_eq!(resolved(&registry, None, Some("shadow")).unwrap_err(), unknown);
        assert_eq!(registry.find(None, None).unwrap().model().version(), "1");
        let labels = |all: Vec<Version>| all.into_iter().map(|each| each.labels).collect::<Vec<_>>();
        let each = [VersionLabel::Stable, VersionLabel::Canary, VersionLabel::Shadow].map(|label| vec![label]);
        assert_eq!(labels(registry.versions("cat").unwrap()), each);
    }

    #[tokio::test]
    async fn version_with_two_labels_is_listed_once() {
        let registry = Registry::default();
        let cat = Model::for_test("cat", "1");
        let candidate = classifier(cat.with_weights("2", Weights::new(Vec::new())));
        let (canary, shadow) = (Some((candidate.clone(), 1.0)), Some(candidate));
        registry
            .replace("cat".to_string(), vec![Versions { canary, shadow, ..Versions::stable_only(classifier(cat)) }]);
        let all = registry.all().unwrap().remove(0);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].labels, [VersionLabel::Canary, VersionLabel::Shadow]);
        assert_eq!(resolved(&registry, None, None).unwrap().1, "2", "a share of 1 is all requests");
    }

    #[tokio::test]
    async fn version_without_a_label_serves_only_requests_that_name_it() {
        let registry = Registry::default();
        let cat = |version| classifier(Model::for_test("cat", version));
        let versions = Versions { others: vec![cat("2"), cat("1")], ..Versions::stable_only(cat("10")) };
        registry.replace("cat".to_string(), vec![versions]);
        for (requested, version) in [(None, "10"), (Some("stable"), "10"), (Some("2"), "2"), (Some("1"), "1")] {
            assert_eq!(resolved(&registry, None, requested).unwrap().1, version);
        }
        let all = registry.versions("cat").unwrap();
        assert_eq!(all.iter().map(|each| each.labels.len()).collect::<Vec<_>>(), [1, 0, 0]);
        let unknown = "model 'cat' has no version '3'; it has '10', '2', '1'";
        assert_eq!(resolved(&registry, None, Some("3")), Err(unknown.to_string()));
        registry.replace("cat".to_string(), Vec::new());
        let unknown = "unknown model 'cat'; the server has no models";
        assert_eq!(resolved(&registry, None, None), Err(unknown.to_string()));
    }
}
