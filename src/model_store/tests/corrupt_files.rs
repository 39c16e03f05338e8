//! Corrupt files, invalid names, and incomplete writes.

use std::fs;

use super::*;
use kiln_inference::model::VersionLabel;

#[test]
fn changed_weights_are_refused() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    let file = fixture.model_folder().join("2/weights.bpk");
    fs::write(&file, b"weightz").unwrap();
    let refused = fixture.store.read(&fixture.model, "2").unwrap_err();
    assert!(matches!(refused, StoreError::DigestMismatch { .. }), "{refused}");
    assert!(refused.to_string().contains("has changed since it was added"), "{refused}");
    fs::remove_file(&file).unwrap();
    assert!(matches!(fixture.store.read(&fixture.model, "2"), Err(StoreError::Io { .. })));
}

#[test]
fn oversized_file_is_refused_without_reading_it() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    let file = fixture.model_folder().join("2/weights.bpk");
    // The file is sparse, but a reader would allocate its full size.
    fs::File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
    let refused = fixture.store.read(&fixture.model, "2").unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(fixture.store.read(&fixture.model, "2").is_err());
}

#[test]
fn corrupt_manifest_is_reported_with_its_path() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    let file = fixture.model_folder().join("2/manifest.toml");
    let good = fs::read_to_string(&file).unwrap();
    let of_other = |from: &str, to: &str| good.replace(from, to);
    for (text, part) in [
        ("not toml at all".to_string(), "manifest.toml is damaged"),
        (String::new(), "missing field"),
        (of_other("version = \"2\"", "version = \"3\""), "of another model or version"),
        (of_other("origin", "orogin"), "unknown field"),
        (of_other(&fixture.model.spec().sha256, &"0".repeat(64)), "made for another graph"),
    ] {
        fs::write(&file, &text).unwrap();
        let refused = fixture.store.read(&fixture.model, "2").unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
    // A corrupt version does not hide the others.
    fs::write(&file, "nothing").unwrap();
    fixture.add(b"third");
    let all = fixture.store.versions(&fixture.model).unwrap();
    assert!(all.len() == 2 && all[0].1.is_err() && all[1].1.is_ok());
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(fixture.store.read(&fixture.model, "2").is_err());
}

#[test]
fn corrupt_reference_logits_are_reported() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    let file = fixture.model_folder().join("2/reference_logits.txt");
    let manifest = fixture.model_folder().join("2/manifest.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    let digest = good.lines().find(|line| line.starts_with("golden")).unwrap();
    for (text, part) in
        [("0.5\n", "it has 1 lines"), ("0.5\nx\n", "is no finite number"), ("0.5\nNaN\n", "is no finite number")]
    {
        fs::write(&file, text).unwrap();
        let sha256 = Weights::new(text.as_bytes().to_vec()).sha256();
        fs::write(&manifest, good.replace(digest, &format!("golden = \"sha256:{sha256}\""))).unwrap();
        let refused = fixture.store.read(&fixture.model, "2").unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
    fs::remove_file(&file).unwrap();
    assert!(fixture.store.read(&fixture.model, "2").unwrap_err().to_string().contains("the file does not exist"));
}

#[test]
fn corrupt_labels_are_reported_and_not_overwritten() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    for (text, part) in [
        ("stable = 2", "labels.toml is damaged"),
        ("stabel = \"2\"", "unknown field"),
        ("canary = \"2\"", "needs a canary-share"),
        ("canary-share = 0.5", "but no canary"),
        ("canary = \"2\"\ncanary-share = 2.0", "from 0 to 1"),
        ("canary = \"2\"\ncanary-share = nan", "from 0 to 1"),
        ("stable = \"../../etc\"", "cannot be the name of a version"),
    ] {
        fs::write(fixture.model_folder().join("labels.toml"), text).unwrap();
        let refused = fixture.store.labels(fixture.name()).unwrap_err().to_string();
        assert!(refused.contains(part) && !refused.contains(".. "), "{refused}");
        // A change does not overwrite labels that it cannot parse.
        assert!(fixture.store.promote(&fixture.model, "2").is_err());
        assert_eq!(fs::read_to_string(fixture.model_folder().join("labels.toml")).unwrap(), text);
    }
}

#[test]
fn invalid_names_are_refused() {
    let fixture = Fixture::new();
    let weights = Weights::new(b"weights".to_vec());
    let long = "v".repeat(101);
    let hostile = [
        "",
        ".",
        "..",
        "../2",
        "a/b",
        "a\\b",
        "/etc",
        ".hidden",
        "a\0b",
        "ä",
        "a b",
        "stable",
        "canary",
        "labels.toml",
        &long,
    ];
    for name in hostile {
        let refused = fixture.store.add_as(&fixture.model, name, &weights, "a test", None).unwrap_err();
        assert!(matches!(refused, StoreError::InvalidName { .. }), "{name:?}: {refused}");
        assert!(fixture.store.read(&fixture.model, name).is_err(), "{name:?}");
        assert!(fixture.store.promote(&fixture.model, name).is_err(), "{name:?}");
        assert!(fixture.store.remove(&fixture.model, name).is_err(), "{name:?}");
    }
    for name in ["", "..", "../x", "a/b", ".x"] {
        assert!(matches!(fixture.store.labels(name), Err(StoreError::InvalidName { .. })), "{name:?}");
        assert!(fixture.store.files(name, &["2"]).is_empty(), "{name:?}");
    }
    assert_eq!(fixture.store.files(fixture.name(), &["../2"]).len(), 1, "the labels alone");
    assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 1, "nothing beside the store");
}

/// A process can end between any two steps and leave a partial write.
#[test]
fn partial_writes_are_ignored() {
    let fixture = Fixture::new();
    fixture.add(b"weights");
    fixture.store.promote(&fixture.model, "2").unwrap();
    // State before the rename of a version's folder: some of its files, the last one incomplete.
    let half = fixture.model_folder().join(".3.4711-0");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("weights.bpk"), b"wei").unwrap();
    // State before the rename of the labels file.
    fs::write(fixture.model_folder().join(".labels.toml.4711-1"), "stab").unwrap();
    // An empty folder that another program created.
    fs::create_dir(fixture.model_folder().join("7")).unwrap();
    assert_eq!(fixture.stable(), "2");
    assert_eq!(fixture.store.read(&fixture.model, "2").unwrap().weights().unwrap().bytes(), b"weights");
    let known: Vec<String> =
        fixture.store.versions(&fixture.model).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(known, ["2", "7"]);
    assert!(fixture.store.promote(&fixture.model, "7").is_err(), "a folder without a manifest is no version");
    assert_eq!(fixture.add(b"next"), "8");
    fixture.store.roll_back(&fixture.model).unwrap();
    assert_eq!(fixture.stable(), "1");
}

/// A write that fails deletes its temporary files.
#[test]
fn failed_write_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("2");
    let failed = atomic_fs::create_folder(&place, |staging| {
        staging.write("weights.bpk", b"weights")?;
        staging.write("no/such/folder", b"")
    });
    assert!(matches!(failed, Err(StoreError::Io { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let labels = folder.path().join("labels.toml");
    fs::create_dir(&labels).unwrap();
    assert!(atomic_fs::replace(&labels, b"stable = \"2\"").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the folder that blocked the write");
}

#[test]
fn label_is_not_a_version_name() {
    for label in VersionLabel::ALL.map(VersionLabel::as_str).into_iter().chain(["previous", "numbers.toml"]) {
        assert!(check_name("version", label).is_ok() && check_version(label).is_err(), "{label}");
    }
}
