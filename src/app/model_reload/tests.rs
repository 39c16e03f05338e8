//! Reconciliation: labels that change during a load, reused names, failed versions, and promotions.

use super::active_model::ActiveModel;
use super::desired_state::{DesiredState, VersionSpec};
use super::loaded_version::LoadedVersion;
use crate::model_store::{Canary, Labels, TrafficShare};
use kiln_inference::model::Model;
use kiln_runtime::file_watcher::Fingerprint;

/// Returns the desired state of these labels; all versions but the built-in one have the digest `weights`.
fn desired(stable: &str, canary: Option<(&str, f64)>, weights: &str) -> DesiredState {
    let canary = canary
        .map(|(version, share)| Canary { version: version.to_string(), share: TrafficShare::new(share).unwrap() });
    let labels = Labels { stable: Some(stable.to_string()), canary, ..Labels::default() };
    DesiredState::new(&labels, "1", |version| ((version != "1").then(|| weights.to_string()), Fingerprint::default()))
}

fn active() -> ActiveModel {
    let model = Model::all().next().unwrap();
    let loaded = LoadedVersion::idle(1, VersionSpec::required("1", None), &model);
    ActiveModel::new(model, loaded)
}

/// Loads the next missing version and returns its name.
fn load(active: &mut ActiveModel, id: u64) -> Option<String> {
    let spec = active.next_to_load()?.spec;
    let version = spec.version.clone();
    active.add(LoadedVersion::idle(id, spec, &active.model.clone()));
    Some(version)
}

/// Reconciles and returns the ids of the versions that are not used any more.
fn reconciled(active: &mut ActiveModel) -> Option<Vec<u64>> {
    Some(active.reconcile()?.iter().map(|loaded| loaded.id).collect())
}

fn serving(active: &ActiveModel) -> (String, Option<String>) {
    let versions = active.versions();
    let version = |model: &Model| model.version().to_string();
    (version(versions.stable.model()), versions.canary.map(|(canary, _)| version(canary.model())))
}

#[tokio::test]
async fn promotion_undone_during_the_load_has_no_effect() {
    let mut active = active();
    active.set_desired(desired("2", None, "a"));
    assert_eq!(reconciled(&mut active), None, "the previous version stays");
    assert_eq!(load(&mut active, 2).as_deref(), Some("2"));
    active.set_desired(desired("1", None, "a"));
    assert_eq!(reconciled(&mut active), Some(vec![2]));
    assert_eq!(serving(&active).0, "1");
    active.set_desired(desired("2", None, "a"));
    load(&mut active, 3);
    assert_eq!(reconciled(&mut active), Some(vec![1]));
    assert_eq!(serving(&active).0, "2");
}

#[tokio::test]
async fn reused_name_is_loaded_again() {
    let mut active = active();
    active.set_desired(desired("2", Some(("3", 0.5)), "a"));
    assert_eq!(load(&mut active, 2).as_deref(), Some("2"));
    assert_eq!(load(&mut active, 3).as_deref(), Some("3"));
    reconciled(&mut active);
    assert_eq!(load(&mut active, 4), None);
    active.set_desired(desired("2", Some(("3", 0.5)), "b"));
    reconciled(&mut active);
    assert_eq!(serving(&active), ("2".to_string(), None), "the stable version stays, the canary has other weights");
    assert_eq!(load(&mut active, 4).as_deref(), Some("2"));
    assert_eq!(load(&mut active, 5).as_deref(), Some("3"));
    assert_eq!(reconciled(&mut active), Some(vec![2]));
    assert_eq!(serving(&active), ("2".to_string(), Some("3".to_string())));
    assert_eq!(load(&mut active, 6), None);
}

#[tokio::test]
async fn failed_version_is_retried_only_after_a_change() {
    let mut active = active();
    active.set_desired(desired("1", Some(("3", 0.5)), "a"));
    load(&mut active, 3);
    reconciled(&mut active);
    assert!(active.withdraw(1).is_none(), "the stable version is required");
    assert_eq!(active.withdraw(3).map(|loaded| loaded.id), Some(3));
    assert_eq!(serving(&active), ("1".to_string(), None));
    assert!(active.next_to_load().is_none());
    // Another version gets a label, and the labels are read again.
    let mut other = desired("1", Some(("4", 0.5)), "a").optional;
    other.iter_mut().for_each(|version| version.labels = vec![kiln_inference::model::VersionLabel::Shadow]);
    let mut both = desired("1", Some(("3", 0.5)), "a");
    both.optional.append(&mut other);
    active.set_desired(both);
    assert_eq!(load(&mut active, 4).as_deref(), Some("4"));
    assert!(active.next_to_load().is_none());
    for change in [desired("1", Some(("3", 0.25)), "a"), desired("1", Some(("3", 0.25)), "b")] {
        active.set_desired(change);
        let version = active.next_to_load().expect("its own share or weights changed");
        assert_eq!(version.spec.version, "3");
        active.reject(version);
        assert!(active.next_to_load().is_none());
    }
    // The failure of a load that started before the change does not reject the version desired now.
    let before = desired("1", Some(("3", 0.25)), "a").optional.remove(0);
    active.set_desired(desired("1", Some(("3", 0.75)), "b"));
    active.reject(before);
    assert!(active.next_to_load().is_some());
}

#[tokio::test]
async fn promoted_canary_serves_until_it_is_stable() {
    let mut active = active();
    active.set_desired(desired("1", Some(("2", 0.5)), "a"));
    load(&mut active, 2);
    reconciled(&mut active);
    active.set_desired(desired("2", None, "a"));
    assert_eq!(reconciled(&mut active), None);
    assert_eq!(serving(&active), ("1".to_string(), Some("2".to_string())));
    assert_eq!(load(&mut active, 3).as_deref(), Some("2"));
    assert_eq!(reconciled(&mut active), Some(vec![1, 2]));
    assert_eq!(serving(&active), ("2".to_string(), None));
    // A version that is rejected as stable is no canary either, since no label asks for that.
    active.set_desired(desired("2", Some(("4", 0.5)), "a"));
    load(&mut active, 4);
    reconciled(&mut active);
    active.set_desired(desired("4", None, "a"));
    let version = active.next_to_load().unwrap();
    active.reject(version);
    assert_eq!(reconciled(&mut active), Some(vec![4]));
}
