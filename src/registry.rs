//! Model name and version -> classifier. Empty while the models are being loaded.

use std::sync::{Arc, OnceLock};

use crate::classifier::Classifier;

/// The classifiers that are ready, filled once. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<OnceLock<Loaded>>);

#[derive(Debug)]
struct Loaded {
    default: String,
    classifiers: Vec<Classifier>,
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
    /// Opens for business. `default` is the model of requests that name none; a second call changes nothing.
    pub fn open(&self, default: String, classifiers: Vec<Classifier>) {
        let _ = self.0.set(Loaded { default, classifiers });
    }

    /// The classifier for a name and a version, each of which may be left to the server.
    ///
    /// # Errors
    ///
    /// Nothing is loaded yet, or there is no such model or version.
    pub fn resolve(&self, name: Option<&str>, version: Option<&str>) -> Result<&Classifier, LookupError> {
        let loaded = self.0.get().ok_or(LookupError::Starting)?;
        let name = name.unwrap_or(&loaded.default);
        let named = || loaded.classifiers.iter().filter(|c| c.model().spec().name == name);
        let Some(any) = named().next() else {
            let known = list(loaded.classifiers.iter().map(|c| c.model().spec().name));
            return Err(LookupError::UnknownModel { name: name.to_string(), known });
        };
        let Some(version) = version else {
            return Ok(any);
        };
        named().find(|c| c.model().version() == version).ok_or_else(|| LookupError::UnknownVersion {
            name: name.to_string(),
            version: version.to_string(),
            known: list(named().map(|c| c.model().version())),
        })
    }

    /// Every classifier, in the order of the models' names.
    ///
    /// # Errors
    ///
    /// Nothing is loaded yet.
    pub fn all(&self) -> Result<&[Classifier], LookupError> {
        self.0.get().map(|loaded| loaded.classifiers.as_slice()).ok_or(LookupError::Starting)
    }

    /// The name of the model that answers where none is named, once loaded.
    pub fn default_model(&self) -> Option<&str> {
        self.0.get().map(|loaded| loaded.default.as_str())
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
    use crate::model::Model;

    fn classifier(name: &'static str, version: &'static str) -> Classifier {
        idle(Model::made_up(name, version), Config::default(), DecodePool::new(1)).0
    }

    #[tokio::test]
    async fn a_request_gets_the_model_that_it_names_and_else_the_default() {
        let registry = Registry::default();
        assert_eq!(registry.resolve(None, None).unwrap_err(), LookupError::Starting);
        registry.open("dog".to_string(), vec![classifier("cat", "1"), classifier("dog", "7")]);
        let found = |name, version| {
            let model = registry.resolve(name, version).map(|classifier| classifier.model());
            model.map(|model| (model.spec().name, model.version())).map_err(|error| error.to_string())
        };
        assert_eq!(found(None, None), Ok(("dog", "7")));
        assert_eq!(found(Some("cat"), None), Ok(("cat", "1")));
        assert_eq!(found(Some("dog"), Some("7")), Ok(("dog", "7")));
        assert_eq!(found(Some("cow"), None), Err("there is no model 'cow'; there is 'cat', 'dog'".to_string()));
        assert_eq!(found(Some("cat"), Some("7")), Err("model 'cat' has no version '7'; it has '1'".to_string()));
        assert_eq!(found(None, Some("1")), Err("model 'dog' has no version '1'; it has '7'".to_string()));
    }
}
