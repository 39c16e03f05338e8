//! The versions of one model that are loaded, and which of them a word means.

use super::{LookupError, list};
use crate::classifier::Classifier;
use crate::model::Label;

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

impl Versions {
    /// The one of that name or label.
    pub(super) fn named(&self, version: &str) -> Result<Classifier, LookupError> {
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

    /// All of them, the stable one first.
    pub(super) fn list(&self) -> Vec<Version> {
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
