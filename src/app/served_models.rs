//! Everything that the server serves: the models that are fixed at start, and those of the model repository. Both change
//! independently; each change replaces the content of the registry.

use std::sync::{Arc, Mutex, PoisonError};

use kiln_classifier::registry::{Registry, Versions};

/// The served models. Cheap to clone; clones share them.
#[derive(Clone)]
pub(super) struct ServedModels(Arc<Mutex<Inner>>);

struct Inner {
    registry: Registry,
    /// Whether requests may use the models.
    is_open: bool,
    /// The model of requests that name none, if the configuration names it.
    configured_default: Option<String>,
    /// That model if the configuration names none.
    chosen_default: Option<String>,
    fixed: Vec<Versions>,
    repository: Vec<Versions>,
}

impl ServedModels {
    /// Creates an empty set. The registry stays empty until [`Self::open`].
    pub(super) fn new(registry: Registry) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            registry,
            is_open: false,
            configured_default: None,
            chosen_default: None,
            fixed: Vec::new(),
            repository: Vec::new(),
        })))
    }

    /// Sets the model of requests that name none. Without it, that is the first model by name; if it is removed, the
    /// first of the others takes its place.
    pub(super) fn set_default(&self, model: Option<String>) {
        self.change(|inner| inner.configured_default = model);
    }

    /// Replaces the models that are fixed at start.
    pub(super) fn set_fixed(&self, models: Vec<Versions>) {
        self.change(|inner| inner.fixed = models);
    }

    /// Replaces the models of the model repository.
    pub(super) fn set_repository(&self, models: Vec<Versions>) {
        self.change(|inner| inner.repository = models);
    }

    /// Passes the models to the registry, now and after each change.
    pub(super) fn open(&self) {
        self.change(|inner| inner.is_open = true);
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut inner);
        if inner.is_open {
            inner.publish();
        }
    }
}

impl Inner {
    fn publish(&mut self) {
        let mut models: Vec<Versions> = self.fixed.iter().chain(&self.repository).cloned().collect();
        models.sort_by(|one, other| name(one).cmp(name(other)));
        let default = self.configured_default.clone().unwrap_or_else(|| self.choose_default(&models));
        self.registry.replace(default, models);
    }

    /// Returns the chosen default model as long as it is served, and then the first one by name.
    fn choose_default(&mut self, models: &[Versions]) -> String {
        let chosen = self.chosen_default.take();
        let is_served = |chosen: &String| models.iter().any(|model| name(model) == chosen);
        let default = match (chosen.filter(is_served), models.first()) {
            (Some(chosen), _) => chosen,
            (None, Some(first)) => {
                let model = name(first);
                tracing::info!(model, "requests without a model name use this model; set --model to change it");
                model.to_string()
            }
            (None, None) => return String::new(),
        };
        self.chosen_default.insert(default).clone()
    }
}

fn name(versions: &Versions) -> &str {
    versions.stable.model().name()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_inference::model::Model;

    fn versions(model: &str) -> Versions {
        let (config, pool) = (kiln_classifier::batching::Config::default(), kiln_image::DecodePool::new(1).unwrap());
        let (classifier, _) = kiln_classifier::test_support::idle(Model::for_test(model, "1"), config, pool);
        Versions::stable_only(Arc::new(classifier))
    }

    #[tokio::test]
    async fn default_model_stays_as_long_as_it_is_served() {
        let registry = Registry::default();
        let served = ServedModels::new(registry.clone());
        let default = || registry.default_model();
        served.set_repository(vec![versions("cat"), versions("dog")]);
        assert_eq!(default(), None, "nothing is served before the start is complete");
        served.open();
        assert_eq!(default().as_deref(), Some("cat"));
        served.set_repository(vec![versions("ant"), versions("cat")]);
        assert_eq!(default().as_deref(), Some("cat"));
        served.set_repository(vec![versions("ant"), versions("dog")]);
        assert_eq!(default().as_deref(), Some("ant"));
        served.set_repository(Vec::new());
        assert!(registry.resolve(None, None).is_err());
        served.set_fixed(vec![versions("dog")]);
        served.set_repository(vec![versions("bee"), versions("eel")]);
        let names: Vec<String> =
            registry.all().unwrap().iter().map(|all| all[0].classifier.model().name().to_string()).collect();
        assert_eq!(names, ["bee", "dog", "eel"]);
        served.set_default(Some("eel".to_string()));
        served.set_repository(vec![versions("bee")]);
        assert_eq!(default().as_deref(), Some("eel"), "another model does not take the place of the configured one");
    }
}
