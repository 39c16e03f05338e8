//! One model: its loaded versions, and which of them is what.

use std::sync::Arc;

use super::unit::Unit;
use super::wanted::{Asked, Case, Wanted};
use kiln_inference::model::{VersionLabel, Model};
use kiln_classifier::registry::Versions;
use kiln_runtime::telemetry::metrics::{self, ReloadOutcome};
use kiln_runtime::file_watcher::Fingerprint;

/// A model that is served.
pub(super) struct Served {
    /// As it was built in.
    pub(super) model: Model,
    units: Vec<Unit>,
    roles: Roles,
    asked: Asked,
    /// What was asked for and does not do.
    refused: Vec<Case>,
}

/// Units by what they are there for.
#[derive(Clone, Debug, PartialEq)]
struct Roles {
    stable: u64,
    canary: Option<(u64, f64)>,
    shadow: Option<u64>,
}

impl Served {
    /// With one version, which is stable.
    pub(super) fn new(model: Model, stable: Unit) -> Self {
        let roles = Roles { stable: stable.id, canary: None, shadow: None };
        metrics::init_model_reloads(model.spec().name);
        metrics::version_label(model.spec().name, &stable.what.version, VersionLabel::Stable.as_str(), true);
        let alone =
            Case { what: stable.what.clone(), labels: vec![VersionLabel::Stable], share: 0.0, files: Fingerprint::default() };
        let asked = Asked { stable: alone, aside: Vec::new() };
        Self { model, units: vec![stable], roles, asked, refused: Vec::new() }
    }

    /// From now on this is asked for. What was refused may do now if its own label or files have changed.
    pub(super) fn ask(&mut self, asked: Asked) {
        self.refused.retain(|refused| asked.all().any(|case| case == refused));
        self.asked = asked;
    }

    /// The next that is asked for, not loaded, and not refused. What answers as the stable version is not tried as well.
    pub(super) fn missing(&self) -> Option<Case> {
        let stable = &self.unit(self.next().stable).what.version;
        let is_missing = |case: &&Case| {
            let is_tried = case.what.aside && case.what.version == *stable;
            self.find(&case.what).is_none() && !self.refused.contains(case) && !is_tried
        };
        self.asked.all().find(is_missing).cloned()
    }

    pub(super) fn add(&mut self, unit: Unit) {
        self.units.push(unit);
    }

    /// A version does not do, and is not tried again while nothing about it changes.
    pub(super) fn refuse(&mut self, case: Case) {
        self.refused.extend(self.asked.all().any(|now| *now == case).then_some(case));
    }

    /// Makes the units what is asked for, as far as they are loaded: a stable version stays until the next one is there. Gives
    /// back those that nobody asks for any more, if anything has changed.
    pub(super) fn settle(&mut self) -> Option<Vec<Unit>> {
        let (before, next) = (self.labelled(), self.next());
        let is_other = next != self.roles;
        if is_other {
            let swapped = next.stable != self.roles.stable;
            self.roles = next;
            self.tell(&before, swapped);
        }
        let Roles { stable, canary, shadow } = &self.roles;
        let used = [Some(*stable), canary.map(|(id, _)| id), *shadow];
        let unused: Vec<Unit> = self.units.extract_if(.., |unit| !used.contains(&Some(unit.id))).collect();
        (is_other || !unused.is_empty()).then_some(unused)
    }

    fn next(&self) -> Roles {
        let stable = self.find(&self.asked.stable.what).unwrap_or_else(|| self.unit(self.roles.stable));
        let tried = |label: VersionLabel| {
            let case = self.asked.tried_as(label)?;
            let unit = self.find(&case.what).filter(|unit| unit.what.version != stable.what.version)?;
            Some((unit.id, case.share))
        };
        // A canary that was promoted goes on being one until it is loaded as the stable version.
        let canary = tried(VersionLabel::Canary).or_else(|| self.roles.canary.filter(|(id, _)| self.rises(*id)));
        Roles { stable: stable.id, canary, shadow: tried(VersionLabel::Shadow).map(|(id, _)| id) }
    }

    /// What a unit answers with is asked for as the stable version, which is not loaded yet and may come.
    fn rises(&self, id: u64) -> bool {
        let awaited = &self.asked.stable;
        let Some(unit) = self.units.iter().find(|unit| unit.id == id) else { return false };
        let as_stable = Wanted { aside: false, ..unit.what.clone() };
        let may_come = self.find(&awaited.what).is_none() && !self.refused.contains(awaited);
        may_come && awaited.what.is_met_by(&as_stable)
    }

    /// Takes out a unit that the server can do without, if it is one of this model's.
    pub(super) fn withdraw(&mut self, id: u64) -> Option<Unit> {
        let place = self.units.iter().position(|unit| unit.id == id && unit.what.aside)?;
        let before = self.labelled();
        let unit = self.units.remove(place);
        self.roles.canary.take_if(|(canary, _)| *canary == id);
        self.roles.shadow.take_if(|shadow| *shadow == id);
        let case = self.asked.aside.iter().find(|case| case.what.is_met_by(&unit.what));
        self.refused.extend(case.cloned());
        self.tell(&before, false);
        Some(unit)
    }

    /// What requests are to find.
    pub(super) fn versions(&self) -> Versions {
        let classifier = |id| Arc::clone(&self.unit(id).classifier);
        let shadow = self.roles.shadow.map(classifier);
        let stable = classifier(self.roles.stable);
        Versions {
            stable: match &shadow {
                Some(shadow) => Arc::new(stable.with_shadow(shadow)),
                None => stable,
            },
            canary: self.roles.canary.map(|(id, share)| (classifier(id), share)),
            shadow,
        }
    }

    /// All of them, when the server ends.
    pub(super) fn into_units(self) -> Vec<Unit> {
        self.units
    }

    fn find(&self, what: &Wanted) -> Option<&Unit> {
        self.units.iter().find(|unit| what.is_met_by(&unit.what))
    }

    fn unit(&self, id: u64) -> &Unit {
        self.units.iter().find(|unit| unit.id == id).expect("units stay as long as they have a role")
    }

    fn labelled(&self) -> Vec<(String, VersionLabel)> {
        let Roles { stable, canary, shadow } = &self.roles;
        let roles =
            [(Some(*stable), VersionLabel::Stable), (canary.map(|(id, _)| id), VersionLabel::Canary), (*shadow, VersionLabel::Shadow)];
        let of = |(id, label): (Option<u64>, VersionLabel)| Some((self.unit(id?).what.version.clone(), label));
        roles.into_iter().filter_map(of).collect()
    }

    /// For the metrics and the log: what has another label than before.
    fn tell(&self, before: &[(String, VersionLabel)], swapped: bool) {
        let (name, now) = (self.model.spec().name, self.labelled());
        for (version, label) in before.iter().filter(|each| !now.contains(each)) {
            metrics::version_label(name, version, label.as_str(), false);
        }
        for (version, label) in &now {
            metrics::version_label(name, version, label.as_str(), true);
        }
        if swapped {
            metrics::model_reload(name, ReloadOutcome::Swapped);
        }
        let all: Vec<String> = now.iter().map(|(version, label)| format!("{} {version}", label.as_str())).collect();
        tracing::info!(model = name, versions = all.join(", "), "versions changed");
    }
}
