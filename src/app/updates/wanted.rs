//! Which versions the labels ask for, and what tells one time that a version is asked for from another.

use kiln_inference::model::VersionLabel;
use crate::store::Labels;
use kiln_runtime::file_watcher::Fingerprint;

/// A version that is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) version: String,
    /// `sha256:<hex>` of its weights, for a name may be given to others; nothing for those that were built in, and where the
    /// version's manifest cannot be read.
    pub(super) weights: Option<String>,
    /// The server can do without it: what befalls it is not the server's end. A stable version is no such one.
    pub(super) aside: bool,
}

impl Wanted {
    pub(super) fn stable(version: &str, weights: Option<String>) -> Self {
        Self { version: version.to_string(), weights, aside: false }
    }

    pub(super) fn aside(version: &str, weights: Option<String>) -> Self {
        Self { version: version.to_string(), weights, aside: true }
    }

    /// What is loaded as `loaded` is what is asked for, as far as that can be told.
    pub(super) fn is_met_by(&self, loaded: &Self) -> bool {
        let is_same = self.weights.is_none() || self.weights == loaded.weights;
        is_same && (&self.version, self.aside) == (&loaded.version, loaded.aside)
    }
}

/// A version as its labels ask for it. While two are the same, what came of the one is what comes of the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    pub(super) what: Wanted,
    /// At least one.
    pub(super) labels: Vec<VersionLabel>,
    /// Of a canary.
    pub(super) share: f64,
    /// How its files were.
    pub(super) files: Fingerprint,
}

/// What the labels of a model ask for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) stable: Case,
    /// What is tried: a canary, a shadow, or one that is both.
    pub(super) aside: Vec<Case>,
}

impl Asked {
    /// What the labels of a model ask for that was built in as `built_in`. `found` tells the digest of a version's weights and
    /// how its files are; it is asked once for each.
    pub(super) fn new(labels: &Labels, built_in: &str, found: impl Fn(&str) -> (Option<String>, Fingerprint)) -> Self {
        let stable = labels.stable_or(built_in);
        let canary = labels.canary.as_ref().map(|canary| canary.version.as_str());
        let shadow = labels.shadow.as_deref();
        let share = labels.canary.as_ref().map_or(0.0, |canary| canary.share.part());
        let case = |version: &str, of: &dyn Fn(&str, Option<String>) -> Wanted| {
            let ((weights, files), labels) = (found(version), labels.of(version, built_in));
            let share = if labels.contains(&VersionLabel::Canary) { share } else { 0.0 };
            Case { what: of(version, weights), labels, share, files }
        };
        let second = shadow.filter(|shadow| canary != Some(shadow));
        let aside = canary.into_iter().chain(second).filter(|version| *version != stable);
        Self {
            aside: aside.map(|version| case(version, &Wanted::aside)).collect(),
            stable: case(stable, &Wanted::stable),
        }
    }

    /// Every case, the stable version first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Case> {
        std::iter::once(&self.stable).chain(&self.aside)
    }

    /// The one that is tried with that label.
    pub(super) fn tried_as(&self, label: VersionLabel) -> Option<&Case> {
        self.aside.iter().find(|case| case.labels.contains(&label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Canary, Share};

    #[test]
    fn each_version_is_asked_for_once() {
        let canary = |version: &str| Some(Canary { version: version.to_string(), share: Share::new(0.5).unwrap() });
        let shadow = |version: &str| Some(version.to_string());
        let asked = |labels: &Labels| {
            let asked = Asked::new(labels, "1", |version| (Some(version.repeat(2)), Fingerprint::default()));
            asked.all().map(|case| (case.what.clone(), case.labels.clone(), case.share)).collect::<Vec<_>>()
        };
        let stable = |version: &str| (Wanted::stable(version, Some(version.repeat(2))), vec![VersionLabel::Stable], 0.0);
        let aside = |version: &str, labels: &[VersionLabel], share| {
            (Wanted::aside(version, Some(version.repeat(2))), labels.to_vec(), share)
        };
        assert_eq!(asked(&Labels::default()), [stable("1")]);
        let both = Labels { canary: canary("3"), shadow: shadow("3"), ..Labels::default() };
        assert_eq!(asked(&both), [stable("1"), aside("3", &[VersionLabel::Canary, VersionLabel::Shadow], 0.5)]);
        let two = Labels { canary: canary("3"), shadow: shadow("4"), ..Labels::default() };
        let tried = [aside("3", &[VersionLabel::Canary], 0.5), aside("4", &[VersionLabel::Shadow], 0.0)];
        assert_eq!(asked(&two), [&[stable("1")], &tried[..]].concat());
        let other = Labels { stable: shadow("2"), canary: canary("2"), shadow: shadow("1"), previous: None };
        let all = asked(&other);
        assert_eq!((&all[0].0, &all[1..]), (&stable("2").0, &[aside("1", &[VersionLabel::Shadow], 0.0)][..]));
    }

    #[test]
    fn other_weights_by_the_same_name_are_another_version() {
        let of = |weights: Option<&str>| Wanted::stable("2", weights.map(String::from));
        assert!(of(Some("a")).is_met_by(&of(Some("a"))));
        assert!(!of(Some("a")).is_met_by(&of(Some("b"))));
        // What cannot be read now was read when it was loaded.
        assert!(of(None).is_met_by(&of(Some("b"))));
        assert!(!of(None).is_met_by(&Wanted::aside("2", None)));
    }
}
