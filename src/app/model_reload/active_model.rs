//! A served model: its desired state, its actual state, and the steps from one to the other.

use std::sync::Arc;

use super::desired_state::{DesiredState, DesiredVersion, VersionSpec};
use super::loaded_version::LoadedVersion;
use kiln_classifier::registry::Versions;
use kiln_inference::model::{Model, VersionLabel};
use kiln_runtime::file_watcher::Fingerprint;
use kiln_runtime::telemetry::metrics::{self, ReloadOutcome};

/// A served model with its loaded versions.
pub(super) struct ActiveModel {
    /// The model with its built-in weights.
    pub(super) model: Model,
    loaded: Vec<LoadedVersion>,
    actual: ActualState,
    desired: DesiredState,
    /// Desired versions that failed to load or failed while they were served.
    rejected: Vec<DesiredVersion>,
}

/// The loaded versions that serve requests, by id.
#[derive(Clone, Debug, PartialEq)]
struct ActualState {
    stable: u64,
    /// The canary and its share of the requests, in 0..=1.
    canary: Option<(u64, f64)>,
    shadow: Option<u64>,
}

impl ActiveModel {
    /// Returns a model with one loaded version, the stable one.
    pub(super) fn new(model: Model, stable: LoadedVersion) -> Self {
        let actual = ActualState { stable: stable.id, canary: None, shadow: None };
        metrics::init_model_reloads(model.name());
        metrics::version_label(model.name(), &stable.spec.version, VersionLabel::Stable.as_str(), true);
        let desired_stable = DesiredVersion {
            spec: stable.spec.clone(),
            labels: vec![VersionLabel::Stable],
            share: 0.0,
            files: Fingerprint::default(),
        };
        let desired = DesiredState { stable: desired_stable, optional: Vec::new() };
        Self { model, loaded: vec![stable], actual, desired, rejected: Vec::new() }
    }

    /// Sets the desired state. A rejected version is retried if its label or its files changed.
    pub(super) fn set_desired(&mut self, desired: DesiredState) {
        self.rejected.retain(|rejected| desired.versions().any(|version| version == rejected));
        self.desired = desired;
    }

    /// Returns the next desired version that is neither loaded nor rejected. A version that already serves as stable is
    /// not loaded again as canary or shadow.
    pub(super) fn next_to_load(&self) -> Option<DesiredVersion> {
        let stable = &self.version(self.target_state().stable).spec.version;
        let is_missing = |desired: &&DesiredVersion| {
            let is_stable_already = desired.spec.is_optional && desired.spec.version == *stable;
            self.find(&desired.spec).is_none() && !self.rejected.contains(desired) && !is_stable_already
        };
        self.desired.versions().find(is_missing).cloned()
    }

    pub(super) fn add(&mut self, version: LoadedVersion) {
        self.loaded.push(version);
    }

    /// Rejects a version: it is not loaded again until its label or its files change.
    pub(super) fn reject(&mut self, rejected: DesiredVersion) {
        let is_desired = self.desired.versions().any(|desired| *desired == rejected);
        self.rejected.extend(is_desired.then_some(rejected));
    }

    /// Brings the actual state as close to the desired state as the loaded versions allow: the stable version stays
    /// until its successor is loaded. Returns the versions that are not used any more; `None` if nothing changed.
    pub(super) fn reconcile(&mut self) -> Option<Vec<LoadedVersion>> {
        let (before, target) = (self.labelled_versions(), self.target_state());
        let is_changed = target != self.actual;
        if is_changed {
            let is_reload = target.stable != self.actual.stable;
            self.actual = target;
            self.report_changes(&before, is_reload);
        }
        let ActualState { stable, canary, shadow } = &self.actual;
        let used = [Some(*stable), canary.map(|(id, _)| id), *shadow];
        let unused: Vec<LoadedVersion> =
            self.loaded.extract_if(.., |version| !used.contains(&Some(version.id))).collect();
        (is_changed || !unused.is_empty()).then_some(unused)
    }

    /// Returns the state closest to the desired one that needs no further load.
    fn target_state(&self) -> ActualState {
        let stable = self.find(&self.desired.stable.spec).unwrap_or_else(|| self.version(self.actual.stable));
        let optional = |label: VersionLabel| {
            let desired = self.desired.labelled(label)?;
            let version = self.find(&desired.spec).filter(|loaded| loaded.spec.version != stable.spec.version)?;
            Some((version.id, desired.share))
        };
        // A promoted canary stays the canary until it is loaded as the stable version.
        let canary =
            optional(VersionLabel::Canary).or_else(|| self.actual.canary.filter(|(id, _)| self.is_being_promoted(*id)));
        ActualState { stable: stable.id, canary, shadow: optional(VersionLabel::Shadow).map(|(id, _)| id) }
    }

    /// Returns whether a loaded version is the desired stable version, which is not loaded as such yet and is not
    /// rejected.
    fn is_being_promoted(&self, id: u64) -> bool {
        let desired = &self.desired.stable;
        let Some(version) = self.loaded.iter().find(|version| version.id == id) else { return false };
        let as_stable = VersionSpec { is_optional: false, ..version.spec.clone() };
        let is_pending = self.find(&desired.spec).is_none() && !self.rejected.contains(desired);
        is_pending && desired.spec.is_met_by(&as_stable)
    }

    /// Removes the optional version `id` and rejects it; `None` if this model has no such version.
    pub(super) fn withdraw(&mut self, id: u64) -> Option<LoadedVersion> {
        let index = self.loaded.iter().position(|version| version.id == id && version.spec.is_optional)?;
        let before = self.labelled_versions();
        let version = self.loaded.remove(index);
        self.actual.canary.take_if(|(canary, _)| *canary == id);
        self.actual.shadow.take_if(|shadow| *shadow == id);
        let desired = self.desired.optional.iter().find(|desired| desired.spec.is_met_by(&version.spec));
        self.rejected.extend(desired.cloned());
        self.report_changes(&before, false);
        Some(version)
    }

    /// Returns the versions for the registry.
    pub(super) fn versions(&self) -> Versions {
        let classifier = |id| Arc::clone(&self.version(id).classifier);
        let shadow = self.actual.shadow.map(classifier);
        let stable = classifier(self.actual.stable);
        Versions {
            stable: match &shadow {
                Some(shadow) => Arc::new(stable.with_shadow(shadow)),
                None => stable,
            },
            canary: self.actual.canary.map(|(id, share)| (classifier(id), share)),
            shadow,
            others: Vec::new(),
        }
    }

    /// Returns all loaded versions, for shutdown.
    pub(super) fn into_loaded(self) -> Vec<LoadedVersion> {
        self.loaded
    }

    fn find(&self, spec: &VersionSpec) -> Option<&LoadedVersion> {
        self.loaded.iter().find(|version| spec.is_met_by(&version.spec))
    }

    fn version(&self, id: u64) -> &LoadedVersion {
        let version = self.loaded.iter().find(|version| version.id == id);
        version.expect("a version of the actual state stays loaded")
    }

    fn labelled_versions(&self) -> Vec<(String, VersionLabel)> {
        let ActualState { stable, canary, shadow } = &self.actual;
        let roles = [
            (Some(*stable), VersionLabel::Stable),
            (canary.map(|(id, _)| id), VersionLabel::Canary),
            (*shadow, VersionLabel::Shadow),
        ];
        let name = |(id, label): (Option<u64>, VersionLabel)| Some((self.version(id?).spec.version.clone(), label));
        roles.into_iter().filter_map(name).collect()
    }

    /// Updates the metrics and logs the new state. `before` is the result of [`Self::labelled_versions`] before the
    /// change.
    fn report_changes(&self, before: &[(String, VersionLabel)], is_reload: bool) {
        let (name, now) = (self.model.name(), self.labelled_versions());
        for (version, label) in before.iter().filter(|each| !now.contains(each)) {
            metrics::version_label(name, version, label.as_str(), false);
        }
        for (version, label) in &now {
            metrics::version_label(name, version, label.as_str(), true);
        }
        if is_reload {
            metrics::model_reload(name, ReloadOutcome::Swapped);
        }
        let all: Vec<String> = now.iter().map(|(version, label)| format!("{} {version}", label.as_str())).collect();
        tracing::info!(model = name, versions = all.join(", "), "model versions changed");
    }
}
