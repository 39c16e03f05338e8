//! Labels: who has them after what.

use super::*;

#[test]
fn a_promotion_can_be_taken_back_and_the_taking_back_too() {
    let kept = Kept::new();
    assert_eq!(kept.stable(), "1");
    assert!(matches!(kept.store.roll_back(&kept.model), Err(StoreError::NothingBefore)));
    kept.add(b"2");
    kept.add(b"3");
    kept.store.promote(&kept.model, "2").unwrap();
    assert_eq!(kept.stable(), "2");
    assert!(matches!(kept.store.promote(&kept.model, "2"), Err(StoreError::Already { .. })));
    kept.store.promote(&kept.model, "3").unwrap();
    kept.store.roll_back(&kept.model).unwrap();
    assert_eq!(kept.stable(), "2");
    kept.store.roll_back(&kept.model).unwrap();
    assert_eq!(kept.stable(), "3");
    kept.store.promote(&kept.model, "1").unwrap();
    assert_eq!((kept.stable().as_str(), kept.store.labels(kept.name()).unwrap().previous.as_deref()), ("1", Some("3")));
    let unknown = kept.store.promote(&kept.model, "9").unwrap_err().to_string();
    assert_eq!(unknown, "there is no version '9'; there is 2, 3. 'kiln models list' shows all.");
}

#[test]
fn a_version_that_is_promoted_is_tried_no_more() {
    let kept = Kept::new();
    kept.add(b"2");
    let canary = || Some(Canary { version: "2".to_string(), share: Share::new(0.1).unwrap() });
    kept.store.set_canary(&kept.model, canary()).unwrap();
    let labels = kept.store.set_shadow(&kept.model, Some("2")).unwrap();
    assert_eq!(labels.of("2", "1"), [kiln_inference::model::VersionLabel::Canary, kiln_inference::model::VersionLabel::Shadow]);
    assert_eq!(kept.store.labels(kept.name()).unwrap(), labels, "what is written is what is read");
    let labels = kept.store.promote(&kept.model, "2").unwrap();
    assert_eq!((labels.canary, labels.shadow), (None, None));
    // To compare a version with itself would tell nothing.
    assert!(matches!(kept.store.set_shadow(&kept.model, Some("2")), Err(StoreError::Already { .. })));
    assert!(matches!(kept.store.set_canary(&kept.model, canary()), Err(StoreError::Already { .. })));
    kept.store.set_shadow(&kept.model, Some("1")).unwrap();
    assert_eq!(kept.store.set_shadow(&kept.model, None).unwrap().shadow, None);
}

#[test]
fn only_a_version_without_a_label_is_removed() {
    let kept = Kept::new();
    for weights in [b"2", b"3", b"4", b"5"] {
        kept.add(weights);
    }
    kept.store.promote(&kept.model, "2").unwrap();
    kept.store.promote(&kept.model, "3").unwrap();
    kept.store.set_shadow(&kept.model, Some("4")).unwrap();
    for (version, label) in [("2", "previous"), ("3", "stable"), ("4", "shadow")] {
        let refused = kept.store.remove(&kept.model, version).unwrap_err().to_string();
        assert!(refused.contains(&format!("labelled '{label}'")), "{refused}");
    }
    assert!(matches!(kept.store.remove(&kept.model, "1"), Err(StoreError::BuiltIn { .. })));
    kept.store.remove(&kept.model, "5").unwrap();
    assert!(!kept.place().join("5").exists());
    assert!(matches!(kept.store.remove(&kept.model, "5"), Err(StoreError::NoSuchVersion { .. })));
}

#[test]
fn a_number_is_given_to_one_version_only() {
    let kept = Kept::new();
    assert_eq!((kept.add(b"2"), kept.add(b"3")), ("2".to_string(), "3".to_string()));
    kept.store.remove(&kept.model, "3").unwrap();
    assert_eq!(kept.add(b"4"), "4");
    // Also where it was there before numbers were kept.
    std::fs::remove_file(kept.place().join("numbers.toml")).unwrap();
    kept.store.remove(&kept.model, "4").unwrap();
    assert_eq!(kept.add(b"5"), "5");
    // Who wants a name again may have it.
    kept.store.add_as(&kept.model, "4", &Weights::new(b"4".to_vec()), "a test", None).unwrap();
    kept.store.add_as(&kept.model, "10", &Weights::new(b"10".to_vec()), "a test", None).unwrap();
    kept.store.remove(&kept.model, "10").unwrap();
    assert_eq!(kept.add(b"11"), "11");
    std::fs::write(kept.place().join("numbers.toml"), "lost = 3").unwrap();
    let refused = kept.store.add(&kept.model, &Weights::new(b"12".to_vec()), "a test", None).unwrap_err().to_string();
    assert!(refused.contains("numbers.toml is damaged") && refused.contains("Write 'last = N'"), "{refused}");
}

#[test]
fn changes_at_once_are_made_one_after_the_other() {
    let kept = Kept::new();
    (0..8).for_each(|_| drop(kept.add(b"weights")));
    std::thread::scope(|scope| {
        for version in 2..10 {
            let kept = &kept;
            scope.spawn(move || kept.store.promote(&kept.model, &version.to_string()).unwrap());
        }
    });
    // Had two read the same labels, one of the eight would be remembered by nobody; here the last two are told apart.
    let labels = kept.store.labels(kept.name()).unwrap();
    assert_ne!(labels.stable, labels.previous);
    assert!(labels.previous.is_some_and(|previous| previous != "1"));
}
