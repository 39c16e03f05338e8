//! Which version answers after what: labels that change while one is loaded, names that are given to others, and breaks.

use super::served::Served;
use super::unit::Unit;
use super::wanted::{Asked, Wanted};
use kiln_inference::model::Model;
use crate::store::{Canary, Labels, Share};
use kiln_runtime::file_watcher::Fingerprint;

/// What the labels ask for, where versions have these weights.
fn asked(stable: &str, canary: Option<(&str, f64)>, weights: &str) -> Asked {
    let canary =
        canary.map(|(version, part)| Canary { version: version.to_string(), share: Share::new(part).unwrap() });
    let labels = Labels { stable: Some(stable.to_string()), canary, ..Labels::default() };
    Asked::new(&labels, "1", |version| ((version != "1").then(|| weights.to_string()), Fingerprint::default()))
}

fn served() -> Served {
    let model = Model::all().next().unwrap();
    let unit = Unit::idle(1, Wanted::stable("1", None), &model);
    Served::new(model, unit)
}

/// Loads what is missing, and gives back its version.
fn load(served: &mut Served, id: u64) -> Option<String> {
    let what = served.missing()?.what;
    let version = what.version.clone();
    served.add(Unit::idle(id, what, &served.model.clone()));
    Some(version)
}

/// The ids of those that nobody asks for any more.
fn settled(served: &mut Served) -> Option<Vec<u64>> {
    Some(served.settle()?.iter().map(|unit| unit.id).collect())
}

fn answering(served: &Served) -> (String, Option<String>) {
    let versions = served.versions();
    let version = |model: &Model| model.version().to_string();
    (version(versions.stable.model()), versions.canary.map(|(canary, _)| version(canary.model())))
}

#[tokio::test]
async fn a_promotion_that_is_taken_back_while_it_loads_comes_to_nothing() {
    let mut served = served();
    served.ask(asked("2", None, "a"));
    assert_eq!(settled(&mut served), None, "the one before stays");
    assert_eq!(load(&mut served, 2).as_deref(), Some("2"));
    served.ask(asked("1", None, "a"));
    assert_eq!(settled(&mut served), Some(vec![2]));
    assert_eq!(answering(&served).0, "1");
    served.ask(asked("2", None, "a"));
    load(&mut served, 3);
    assert_eq!(settled(&mut served), Some(vec![1]));
    assert_eq!(answering(&served).0, "2");
}

#[tokio::test]
async fn a_name_that_was_given_to_other_weights_is_loaded_anew() {
    let mut served = served();
    served.ask(asked("2", Some(("3", 0.5)), "a"));
    assert_eq!(load(&mut served, 2).as_deref(), Some("2"));
    assert_eq!(load(&mut served, 3).as_deref(), Some("3"));
    settled(&mut served);
    assert_eq!(load(&mut served, 4), None);
    served.ask(asked("2", Some(("3", 0.5)), "b"));
    settled(&mut served);
    assert_eq!(answering(&served), ("2".to_string(), None), "the stable version stays, the canary is another one");
    assert_eq!(load(&mut served, 4).as_deref(), Some("2"));
    assert_eq!(load(&mut served, 5).as_deref(), Some("3"));
    assert_eq!(settled(&mut served), Some(vec![2]));
    assert_eq!(answering(&served), ("2".to_string(), Some("3".to_string())));
    assert_eq!(load(&mut served, 6), None);
}

#[tokio::test]
async fn what_broke_is_not_tried_again_before_something_about_it_changes() {
    let mut served = served();
    served.ask(asked("1", Some(("3", 0.5)), "a"));
    load(&mut served, 3);
    settled(&mut served);
    assert!(served.withdraw(1).is_none(), "not the stable one");
    assert_eq!(served.withdraw(3).map(|unit| unit.id), Some(3));
    assert_eq!(answering(&served), ("1".to_string(), None));
    assert!(served.missing().is_none());
    // Another version is labelled, and the labels are read anew.
    let mut other = asked("1", Some(("4", 0.5)), "a").aside;
    other.iter_mut().for_each(|case| case.labels = vec![kiln_inference::model::VersionLabel::Shadow]);
    let mut both = asked("1", Some(("3", 0.5)), "a");
    both.aside.append(&mut other);
    served.ask(both);
    assert_eq!(load(&mut served, 4).as_deref(), Some("4"));
    assert!(served.missing().is_none());
    for change in [asked("1", Some(("3", 0.25)), "a"), asked("1", Some(("3", 0.25)), "b")] {
        served.ask(change);
        let case = served.missing().expect("its own share or weights are others");
        assert_eq!(case.what.version, "3");
        served.refuse(case);
        assert!(served.missing().is_none());
    }
    // A load that began before the change tells nothing of what is asked for now.
    let before = asked("1", Some(("3", 0.25)), "a").aside.remove(0);
    served.ask(asked("1", Some(("3", 0.75)), "b"));
    served.refuse(before);
    assert!(served.missing().is_some());
}

#[tokio::test]
async fn a_canary_that_is_promoted_answers_until_it_is_the_stable_version() {
    let mut served = served();
    served.ask(asked("1", Some(("2", 0.5)), "a"));
    load(&mut served, 2);
    settled(&mut served);
    served.ask(asked("2", None, "a"));
    assert_eq!(settled(&mut served), None);
    assert_eq!(answering(&served), ("1".to_string(), Some("2".to_string())));
    assert_eq!(load(&mut served, 3).as_deref(), Some("2"));
    assert_eq!(settled(&mut served), Some(vec![1, 2]));
    assert_eq!(answering(&served), ("2".to_string(), None));
    // One that does not do as a stable version is no canary either: nobody asks for that.
    served.ask(asked("2", Some(("4", 0.5)), "a"));
    load(&mut served, 4);
    settled(&mut served);
    served.ask(asked("4", None, "a"));
    let case = served.missing().unwrap();
    served.refuse(case);
    assert_eq!(settled(&mut served), Some(vec![4]));
}
