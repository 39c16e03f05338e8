//! One model: its loaded versions, and which of them is what.

use std::sync::Arc;

use super::unit::Unit;
use super::wanted::{Wanted, wanted};
use crate::model::{Label, Model};
use crate::registry::Versions;
use crate::store::Labels;
use crate::telemetry::metrics::{self, Swap};

/// A model that is served.
pub(super) struct Served {
    /// As it was built in.
    pub(super) model: Model,
    units: Vec<Unit>,
    roles: Roles,
    /// Versions that were asked for and do not do.
    refused: Vec<Wanted>,
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
        metrics::swaps_begin(model.spec().name);
        metrics::version_label(model.spec().name, &stable.what.version, Label::Stable.word(), true);
        Self { model, units: vec![stable], roles, refused: Vec::new() }
    }

    /// The next that is asked for, not loaded, and not refused. What answers as the stable version is not tried as well.
    pub(super) fn missing(&self, labels: &Labels) -> Option<Wanted> {
        let stable = &self.unit(self.next(labels).stable).what.version;
        let mut all = wanted(labels, self.model.spec().version).into_iter();
        let is_tried = |what: &Wanted| what.aside && what.version == *stable;
        all.find(|what| self.find(what).is_none() && !self.refused.contains(what) && !is_tried(what))
    }

    pub(super) fn add(&mut self, unit: Unit) {
        self.units.push(unit);
    }

    /// A version does not do, and is not tried again before [`Served::forgive`].
    pub(super) fn refuse(&mut self, what: Wanted) {
        self.refused.push(what);
    }

    /// Something has changed: what was refused may do now.
    pub(super) fn forgive(&mut self) {
        self.refused.clear();
    }

    /// Makes the units what the labels ask for, as far as they are loaded: a stable version stays until the next one is there.
    /// Gives back those that nobody asks for any more, if anything has changed.
    pub(super) fn settle(&mut self, labels: &Labels) -> Option<Vec<Unit>> {
        let next = self.next(labels);
        if next == self.roles {
            return None;
        }
        let before = self.labelled();
        let swapped = next.stable != self.roles.stable;
        self.roles = next;
        self.tell(&before, swapped);
        let Roles { stable, canary, shadow } = &self.roles;
        let used = [Some(*stable), canary.map(|(id, _)| id), *shadow];
        Some(self.units.extract_if(.., |unit| !used.contains(&Some(unit.id))).collect())
    }

    fn next(&self, labels: &Labels) -> Roles {
        let stable = self.find(&Wanted::stable(labels.stable_or(self.model.spec().version)));
        let stable = stable.unwrap_or_else(|| self.unit(self.roles.stable));
        let aside = |version: &str| {
            let found = self.find(&Wanted::aside(version)).filter(|unit| unit.what.version != stable.what.version);
            found.map(|unit| unit.id)
        };
        Roles {
            stable: stable.id,
            canary: labels.canary.as_ref().and_then(|canary| Some((aside(&canary.version)?, canary.share))),
            shadow: labels.shadow.as_deref().and_then(aside),
        }
    }

    /// Takes out a unit that the server can do without, if it is one of this model's.
    pub(super) fn withdraw(&mut self, id: u64) -> Option<Unit> {
        let place = self.units.iter().position(|unit| unit.id == id && unit.what.aside)?;
        let before = self.labelled();
        let unit = self.units.remove(place);
        self.roles.canary.take_if(|(canary, _)| *canary == id);
        self.roles.shadow.take_if(|shadow| *shadow == id);
        self.refused.push(unit.what.clone());
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
                Some(shadow) => Arc::new(stable.shadowed_by(shadow)),
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
        self.units.iter().find(|unit| unit.what == *what)
    }

    fn unit(&self, id: u64) -> &Unit {
        self.units.iter().find(|unit| unit.id == id).expect("units stay as long as they have a role")
    }

    fn labelled(&self) -> Vec<(String, Label)> {
        let Roles { stable, canary, shadow } = &self.roles;
        let roles =
            [(Some(*stable), Label::Stable), (canary.map(|(id, _)| id), Label::Canary), (*shadow, Label::Shadow)];
        let of = |(id, label): (Option<u64>, Label)| Some((self.unit(id?).what.version.clone(), label));
        roles.into_iter().filter_map(of).collect()
    }

    /// For the metrics and the log: what has another label than before.
    fn tell(&self, before: &[(String, Label)], swapped: bool) {
        let (name, now) = (self.model.spec().name, self.labelled());
        for (version, label) in before.iter().filter(|each| !now.contains(each)) {
            metrics::version_label(name, version, label.word(), false);
        }
        for (version, label) in &now {
            metrics::version_label(name, version, label.word(), true);
        }
        if swapped {
            metrics::swap(name, Swap::Swapped);
        }
        let all: Vec<String> = now.iter().map(|(version, label)| format!("{} {version}", label.word())).collect();
        tracing::info!(model = name, versions = all.join(", "), "versions changed");
    }
}
