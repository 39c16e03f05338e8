//! Label changes, removal, and version numbers.

use super::*;

#[test]
fn rollback_undoes_a_promotion_and_a_rollback() {
    let fixture = Fixture::new();
    assert_eq!(fixture.stable(), "1");
    assert!(matches!(fixture.store.roll_back(&fixture.model), Err(StoreError::NoPreviousVersion)));
    fixture.add(b"2");
    fixture.add(b"3");
    fixture.store.promote(&fixture.model, "2").unwrap();
    assert_eq!(fixture.stable(), "2");
    assert!(matches!(fixture.store.promote(&fixture.model, "2"), Err(StoreError::AlreadyStable { .. })));
    fixture.store.promote(&fixture.model, "3").unwrap();
    fixture.store.roll_back(&fixture.model).unwrap();
    assert_eq!(fixture.stable(), "2");
    fixture.store.roll_back(&fixture.model).unwrap();
    assert_eq!(fixture.stable(), "3");
    fixture.store.promote(&fixture.model, "1").unwrap();
    assert_eq!(
        (fixture.stable().as_str(), fixture.store.labels(fixture.name()).unwrap().previous.as_deref()),
        ("1", Some("3"))
    );
    let unknown = fixture.store.promote(&fixture.model, "9").unwrap_err().to_string();
    let list = crate::shell::models_command("list", fixture.store.folder());
    assert_eq!(unknown, format!("there is no version '9'; there is 2, 3. '{list}' shows all."));
}

#[test]
fn promotion_clears_canary_and_shadow() {
    let fixture = Fixture::new();
    fixture.add(b"2");
    let canary = || Some(Canary { version: "2".to_string(), share: TrafficShare::new(0.1).unwrap() });
    fixture.store.set_canary(&fixture.model, canary()).unwrap();
    let labels = fixture.store.set_shadow(&fixture.model, Some("2")).unwrap();
    assert_eq!(
        labels.of("2", "1"),
        [kiln_inference::model::VersionLabel::Canary, kiln_inference::model::VersionLabel::Shadow]
    );
    assert_eq!(fixture.store.labels(fixture.name()).unwrap(), labels, "written labels are read back");
    let labels = fixture.store.promote(&fixture.model, "2").unwrap();
    assert_eq!((labels.canary, labels.shadow), (None, None));
    // A comparison of the stable version with itself is refused.
    assert!(matches!(fixture.store.set_shadow(&fixture.model, Some("2")), Err(StoreError::AlreadyStable { .. })));
    assert!(matches!(fixture.store.set_canary(&fixture.model, canary()), Err(StoreError::AlreadyStable { .. })));
    fixture.store.set_shadow(&fixture.model, Some("1")).unwrap();
    assert_eq!(fixture.store.set_shadow(&fixture.model, None).unwrap().shadow, None);
}

#[test]
fn labelled_version_cannot_be_removed() {
    let fixture = Fixture::new();
    for weights in [b"2", b"3", b"4", b"5"] {
        fixture.add(weights);
    }
    fixture.store.promote(&fixture.model, "2").unwrap();
    fixture.store.promote(&fixture.model, "3").unwrap();
    fixture.store.set_shadow(&fixture.model, Some("4")).unwrap();
    for (version, label) in [("2", "previous"), ("3", "stable"), ("4", "shadow")] {
        let refused = fixture.store.remove(&fixture.model, version).unwrap_err().to_string();
        assert!(refused.contains(&format!("labelled '{label}'")), "{refused}");
    }
    assert!(matches!(fixture.store.remove(&fixture.model, "1"), Err(StoreError::BuiltIn { .. })));
    fixture.store.remove(&fixture.model, "5").unwrap();
    assert!(!fixture.model_folder().join("5").exists());
    assert!(matches!(fixture.store.remove(&fixture.model, "5"), Err(StoreError::NoSuchVersion { .. })));
}

#[test]
fn version_number_is_never_reused() {
    let fixture = Fixture::new();
    assert_eq!((fixture.add(b"2"), fixture.add(b"3")), ("2".to_string(), "3".to_string()));
    fixture.store.remove(&fixture.model, "3").unwrap();
    assert_eq!(fixture.add(b"4"), "4");
    // Also where it was there before numbers were fixture.
    std::fs::remove_file(fixture.model_folder().join("numbers.toml")).unwrap();
    fixture.store.remove(&fixture.model, "4").unwrap();
    assert_eq!(fixture.add(b"5"), "5");
    // An explicit name may be reused.
    fixture.store.add_as(&fixture.model, "4", &Weights::new(b"4".to_vec()), "a test", None).unwrap();
    fixture.store.add_as(&fixture.model, "10", &Weights::new(b"10".to_vec()), "a test", None).unwrap();
    fixture.store.remove(&fixture.model, "10").unwrap();
    assert_eq!(fixture.add(b"11"), "11");
    std::fs::write(fixture.model_folder().join("numbers.toml"), "lost = 3").unwrap();
    let refused =
        fixture.store.add(&fixture.model, &Weights::new(b"12".to_vec()), "a test", None).unwrap_err().to_string();
    assert!(refused.contains("numbers.toml is damaged") && refused.contains("Write 'last = N'"), "{refused}");
}

#[test]
fn concurrent_changes_are_serialized() {
    let fixture = Fixture::new();
    (0..8).for_each(|_| drop(fixture.add(b"weights")));
    std::thread::scope(|scope| {
        for version in 2..10 {
            let fixture = &fixture;
            scope.spawn(move || fixture.store.promote(&fixture.model, &version.to_string()).unwrap());
        }
    });
    // If two changes read the same labels, one of them would be lost; the last two must differ.
    let labels = fixture.store.labels(fixture.name()).unwrap();
    assert_ne!(labels.stable, labels.previous);
    assert!(labels.previous.is_some_and(|previous| previous != "1"));
}
