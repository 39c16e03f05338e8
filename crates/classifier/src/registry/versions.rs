//! The versions of one model that are loaded, and which of them a word means.

use std::sync::Arc;

use super::{LookupError, list};
use crate::Classifier;
use kiln_inference::model::Label;

/// The loaded versions of one model.
#[derive(Clone, Debug)]
pub struct Versions {
    /// Who answers.
    pub stable: Arc<Classifier>,
    /// Who answers this part, in 0..=1, of the requests that name no version.
    pub canary: Option<(Arc<Classifier>, f64)>,
    /// Whose answers are compared with the stable ones. It may be the canary.
    pub shadow: Option<Arc<Classifier>>,
}

/// One version, and what it is there for.
#[derive(Clone, Debug)]
pub struct Version {
    /// What classifies with it.
    pub classifier: Arc<Classifier>,
    /// At least one.
    pub labels: Vec<Label>,
}

impl Versions {
    /// The one of that name or label.
    pub(super) fn named(&self, version: &str) -> Result<Arc<Classifier>, LookupError> {
        let is_meant = |(classifier, label): &(&Arc<Classifier>, Label)| {
            (*label != Label::Shadow && label.word() == version) || classifier.model().version() == version
        };
        self.roles().find(is_meant).map(|(classifier, _)| Arc::clone(classifier)).ok_or_else(|| {
            LookupError::UnknownVersion {
                name: self.stable.model().spec().name.to_string(),
                version: version.to_string(),
                known: list(self.list().iter().map(|each| each.classifier.model().version())),
            }
        })
    }

    /// All of them, the stable one first.
    pub(super) fn list(&self) -> Vec<Version> {
        let mut all: Vec<Version> = Vec::new();
        for (classifier, label) in self.roles() {
            let version = classifier.model().version();
            match all.iter_mut().find(|each| each.classifier.model().version() == version) {
                Some(known) => known.labels.push(label),
                None => all.push(Version { classifier: Arc::clone(classifier), labels: vec![label] }),
            }
        }
        all
    }

    /// What is loaded for what. A version may be there for two things.
    fn roles(&self) -> impl Iterator<Item = (&Arc<Classifier>, Label)> {
        let canary = self.canary.iter().map(|(canary, _)| (canary, Label::Canary));
        let shadow = self.shadow.iter().map(|shadow| (shadow, Label::Shadow));
        std::iter::once((&self.stable, Label::Stable)).chain(canary).chain(shadow)
    }
}
