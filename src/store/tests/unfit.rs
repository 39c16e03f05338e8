//! Versions that no server could serve: they are given no label, and what was given one is not taken for another.

use std::fs;

use super::*;

/// Each label that there is, for version 2.
fn give(kept: &Kept) -> [Result<Labels, StoreError>; 3] {
    let (store, model) = (&kept.store, &kept.model);
    let canary = Some(Canary { version: "2".to_string(), share: Share::new(0.1).unwrap() });
    [store.set_shadow(model, Some("2")), store.set_canary(model, canary), store.promote(model, "2")]
}

fn in_manifest(kept: &Kept, version: &str, from: &str, to: &str) {
    let path = kept.place().join(version).join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn what_cannot_be_served_gets_no_label() {
    for (file, part) in [
        ("weights.bpk", "has changed since it was added"),
        ("reference_logits.txt", "has changed since it was added"),
        ("graph", "made for another graph"),
        ("missing", "weights.bpk"),
        ("", ""),
    ] {
        let kept = Kept::new();
        kept.add(b"weights");
        match file {
            "graph" => in_manifest(&kept, "2", kept.model.spec().sha256, &"0".repeat(64)),
            "missing" => fs::remove_file(kept.place().join("2/weights.bpk")).unwrap(),
            "" => {}
            file => fs::write(kept.place().join("2").join(file), "0.25\n".repeat(1000)).unwrap(),
        }
        for outcome in give(&kept) {
            let is_refused = outcome.is_err_and(|error| error.to_string().contains(part));
            assert_eq!(is_refused, !file.is_empty(), "{file}");
        }
        assert_eq!(kept.stable() == "1", !file.is_empty(), "{file}");
    }
}

#[test]
fn nobody_goes_back_to_a_version_that_cannot_be_served() {
    let kept = Kept::new();
    for weights in [b"2", b"3", b"4"] {
        kept.add(weights);
    }
    let previous = |labels: Labels| labels.previous;
    kept.store.promote(&kept.model, "2").unwrap();
    kept.store.promote(&kept.model, "3").unwrap();
    fs::write(kept.place().join("2/weights.bpk"), b"!").unwrap();
    assert!(kept.store.roll_back(&kept.model).is_err());
    assert_eq!(kept.stable(), "3");
    // What breaks while it is stable is left without a way back to it, but the one before is not forgotten.
    kept.store.promote(&kept.model, "1").unwrap();
    kept.store.promote(&kept.model, "3").unwrap();
    fs::write(kept.place().join("3/weights.bpk"), b"!").unwrap();
    assert_eq!(previous(kept.store.promote(&kept.model, "4").unwrap()).as_deref(), Some("1"));
    fs::write(kept.place().join("4/weights.bpk"), b"!").unwrap();
    assert_eq!(previous(kept.store.roll_back(&kept.model).unwrap()), None);
    assert!(matches!(kept.store.roll_back(&kept.model), Err(StoreError::NothingBefore)));
}

#[test]
fn the_check_of_the_logits_does_not_end_in_silence() {
    let kept = Kept::new();
    kept.add(b"weights");
    let file = kept.place().join("2/reference_logits.txt");
    assert!(kept.store.files(kept.name(), &["2"]).contains(&file), "a change of it is seen");
    let text = fs::read_to_string(kept.place().join("2/manifest.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("golden")).unwrap();
    in_manifest(&kept, "2", &format!("{line}\n"), "");
    let refused = kept.store.read(&kept.model, "2").unwrap_err().to_string();
    assert!(refused.contains("missing field `golden`"), "{refused}");
    fs::write(&file, "0.25\n".repeat(1000)).unwrap();
    fs::write(kept.place().join("2/manifest.toml"), text).unwrap();
    assert!(matches!(kept.store.read(&kept.model, "2"), Err(StoreError::Digest { .. })));
}

#[test]
fn a_folder_with_the_built_in_versions_name_is_told_and_never_taken_for_it() {
    let kept = Kept::new();
    kept.add(b"weights");
    // As by a program that was built with another version of its own.
    fs::rename(kept.place().join("2"), kept.place().join("1")).unwrap();
    in_manifest(&kept, "1", "version = \"2\"", "version = \"1\"");
    let listed = kept.store.versions(&kept.model).unwrap().remove(0);
    let reason = listed.1.unwrap_err().to_string();
    assert!(reason.contains("is never served") && reason.contains("with other weights"), "{reason}");
    // Nobody has asked for it by name.
    assert_eq!(kept.store.stable(&kept.model).unwrap(), "1");
    assert!(kept.store.namesake(&kept.model).unwrap().is_some());
    assert_eq!(kept.add(b"weights"), "3");
    kept.store.promote(&kept.model, "3").unwrap();
    assert!(matches!(kept.store.promote(&kept.model, "1"), Err(StoreError::Namesake { .. })));
    for labels in ["stable = \"1\"", "canary = \"1\"\ncanary-share = 0.5", "shadow = \"1\""] {
        fs::write(kept.place().join("labels.toml"), labels).unwrap();
        assert!(matches!(kept.store.stable(&kept.model), Err(StoreError::Namesake { .. })), "{labels}");
    }
    // With the same weights it makes no difference.
    let own = kept.model.weights_digest();
    let text = fs::read_to_string(kept.place().join("1/manifest.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("weights")).unwrap();
    in_manifest(&kept, "1", line, &format!("weights = \"{own}\""));
    assert_eq!(kept.store.stable(&kept.model).unwrap(), "1");
    assert!(kept.store.namesake(&kept.model).unwrap().unwrap().to_string().contains("the same weights"));
}

#[test]
fn a_manifest_brings_nothing_to_the_terminal() {
    let kept = Kept::new();
    kept.add(b"weights");
    let path = kept.place().join("2/manifest.toml");
    let good = fs::read_to_string(&path).unwrap();
    for key in ["weights", "graph", "golden"] {
        let line = good.lines().find(|line| line.starts_with(key)).unwrap();
        for value in ["\\u001b[2J", "sha256:\\u001b[2J", "md5:0", ""] {
            fs::write(&path, good.replace(line, &format!("{key} = \"{value}\""))).unwrap();
            let refused = kept.store.read(&kept.model, "2").unwrap_err().to_string();
            assert!(refused.contains("is no digest") && !refused.contains(char::is_control), "{refused:?}");
        }
    }
    fs::write(&path, good.replace("origin", "\"\\u001b[2J\"")).unwrap();
    let refused = kept.store.read(&kept.model, "2").unwrap_err().to_string();
    assert!(refused.contains("unknown field") && !refused.contains(char::is_control), "{refused:?}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_told_and_not_waited_for() {
    let kept = Kept::new();
    kept.add(b"weights");
    let labels = kept.place().join("labels.toml");
    let made = std::process::Command::new("mkfifo").arg(&labels).status().unwrap();
    assert!(made.success());
    assert!(matches!(kept.store.labels(kept.name()), Err(StoreError::NoFile { .. })));
    let refused = read_weights(&labels, &kept.model).unwrap_err().to_string();
    assert!(refused.contains("has to be put into one first"), "{refused}");
}
