//! Versions that cannot be served: they get no label, and a labelled one is not replaced by another.

use std::fs;

use super::*;

/// Sets each label on version 2.
fn set_each_label(fixture: &Fixture) -> [Result<Labels, StoreError>; 3] {
    let (store, model) = (&fixture.store, &fixture.model);
    let canary = Some(Canary { version: "2".to_string(), share: TrafficShare::new(0.1).unwrap() });
    [store.set_shadow(model, Some("2")), store.set_canary(model, canary), store.promote(model, "2")]
}

fn replace_in_manifest(fixture: &Fixture, version: &str, from: &str, to: &str) {
    let path = fixture.model_folder().join(version).join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn unservable_version_gets_no_label() {
    for (file, part) in [
        ("weights.bpk", "has changed since it was added"),
        ("reference_logits.txt", "has changed since it was added"),
        ("graph", "made for another graph"),
        ("missing", "weights.bpk"),
        ("", ""),
    ] {
        let fixture = Fixture::new();
        fixture.add(b"weights");
        match file {
            "graph" => replace_in_manifest(&fixture, "2", &fixture.model.spec().sha256, &"0".repeat(64)),
            "missing" => fs::remove_file(fixture.model_folder().join("2/weights.bpk")).unwrap(),
            "" => {}
            file => fs::write(fixture.model_folder().join("2").join(file), "0.25\n".repeat(1000)).unwrap(),
        }
        for outcome in set_each_label(&fixture) {
            let is_refused = outcome.is_err_and(|error| error.to_string().contains(part));
            assert_eq!(is_refused, !file.is_empty(), "{file}");
        }
        assert_eq!(fixture.stable() == "1", !file.is_empty(), "{file}");
    }
}

#[test]
fn rollback_skips_unservable_versions() {
    let fixture = Fixture::new();
    for weights in [b"2", b"3", b"4"] {
        fixture.add(weights);
    }
    let previous = |labels: Labels| labels.previous;
    fixture.store.promote(&fixture.model, "2").unwrap();
    fixture.store.promote(&fixture.model, "3").unwrap();
    fs::write(fixture.model_folder().join("2/weights.bpk"), b"!").unwrap();
    assert!(fixture.store.roll_back(&fixture.model).is_err());
    assert_eq!(fixture.stable(), "3");
    // A stable version that becomes corrupt is no rollback target; the one before it still is.
    fixture.store.promote(&fixture.model, "1").unwrap();
    fixture.store.promote(&fixture.model, "3").unwrap();
    fs::write(fixture.model_folder().join("3/weights.bpk"), b"!").unwrap();
    assert_eq!(previous(fixture.store.promote(&fixture.model, "4").unwrap()).as_deref(), Some("1"));
    fs::write(fixture.model_folder().join("4/weights.bpk"), b"!").unwrap();
    assert_eq!(previous(fixture.store.roll_back(&fixture.model).unwrap()), None);
    assert!(matches!(fixture.store.roll_back(&fixture.model), Err(StoreError::NoPreviousVersion)));
}

#[test]
fn manifest_without_reference_logits_key_is_refused() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    let file = fixture.model_folder().join("2/reference_logits.txt");
    assert!(fixture.store.files(fixture.name(), &["2"]).contains(&file), "the file is watched");
    let text = fs::read_to_string(fixture.model_folder().join("2/manifest.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("golden")).unwrap();
    replace_in_manifest(&fixture, "2", &format!("{line}\n"), "");
    let refused = fixture.store.read(&fixture.model, "2").unwrap_err().to_string();
    assert!(refused.contains("missing field `golden`"), "{refused}");
    fs::write(&file, "0.25\n".repeat(1000)).unwrap();
    fs::write(fixture.model_folder().join("2/manifest.toml"), text).unwrap();
    assert!(matches!(fixture.store.read(&fixture.model, "2"), Err(StoreError::DigestMismatch { .. })));
}

#[test]
fn folder_named_as_the_built_in_version_is_reported_and_not_served() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    // The state after a build with another built-in version.
    fs::rename(fixture.model_folder().join("2"), fixture.model_folder().join("1")).unwrap();
    replace_in_manifest(&fixture, "1", "version = \"2\"", "version = \"1\"");
    let listed = fixture.store.versions(&fixture.model).unwrap().remove(0);
    let reason = listed.1.unwrap_err().to_string();
    assert!(reason.contains("is never served") && reason.contains("with other weights"), "{reason}");
    // No label names it.
    assert_eq!(fixture.store.stable(&fixture.model).unwrap(), "1");
    assert!(fixture.store.built_in_conflict(&fixture.model).unwrap().is_some());
    assert_eq!(fixture.add(b"weights"), "3");
    fixture.store.promote(&fixture.model, "3").unwrap();
    assert!(matches!(fixture.store.promote(&fixture.model, "1"), Err(StoreError::BuiltInConflict { .. })));
    for labels in ["stable = \"1\"", "canary = \"1\"\ncanary-share = 0.5", "shadow = \"1\""] {
        fs::write(fixture.model_folder().join("labels.toml"), labels).unwrap();
        assert!(matches!(fixture.store.stable(&fixture.model), Err(StoreError::BuiltInConflict { .. })), "{labels}");
    }
    // With the same weights there is no ambiguity.
    let own = fixture.model.weights_digest();
    let text = fs::read_to_string(fixture.model_folder().join("1/manifest.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("weights")).unwrap();
    replace_in_manifest(&fixture, "1", line, &format!("weights = \"{own}\""));
    assert_eq!(fixture.store.stable(&fixture.model).unwrap(), "1");
    assert!(fixture.store.built_in_conflict(&fixture.model).unwrap().unwrap().to_string().contains("the same weights"));
}

#[test]
fn control_characters_of_a_manifest_are_not_shown() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    let path = fixture.model_folder().join("2/manifest.toml");
    let good = fs::read_to_string(&path).unwrap();
    for key in ["weights", "graph", "golden"] {
        let line = good.lines().find(|line| line.starts_with(key)).unwrap();
        for value in ["\\u001b[2J", "sha256:\\u001b[2J", "md5:0", ""] {
            fs::write(&path, good.replace(line, &format!("{key} = \"{value}\""))).unwrap();
            let refused = fixture.store.read(&fixture.model, "2").unwrap_err().to_string();
            assert!(refused.contains("is no digest") && !refused.contains(char::is_control), "{refused:?}");
        }
    }
    fs::write(&path, good.replace("origin", "\"\\u001b[2J\"")).unwrap();
    let refused = fixture.store.read(&fixture.model, "2").unwrap_err().to_string();
    assert!(refused.contains("unknown field") && !refused.contains(char::is_control), "{refused:?}");
}

#[cfg(unix)]
#[test]
fn pipe_is_refused_without_blocking() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    let labels = fixture.model_folder().join("labels.toml");
    let made = std::process::Command::new("mkfifo").arg(&labels).status().unwrap();
    assert!(made.success());
    assert!(matches!(fixture.store.labels(fixture.name()), Err(StoreError::NotAFile { .. })));
    let refused = read_weights(&labels, &fixture.model).unwrap_err().to_string();
    assert!(refused.contains("Write the output of a pipe to a file first"), "{refused}");
}
