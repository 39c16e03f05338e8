//! Files that are not as they were written, names that are none, and writers that did not come to their end.

use std::fs;

use super::*;

#[test]
fn weights_that_have_changed_are_not_read() {
    let kept = Kept::new();
    kept.add(b"weights");
    let file = kept.place().join("2/weights.bpk");
    fs::write(&file, b"weightz").unwrap();
    let refused = kept.store.read(&kept.model, "2").unwrap_err();
    assert!(matches!(refused, StoreError::Digest { .. }), "{refused}");
    assert!(refused.to_string().contains("has changed since it was added"), "{refused}");
    fs::remove_file(&file).unwrap();
    assert!(matches!(kept.store.read(&kept.model, "2"), Err(StoreError::Io { .. })));
}

#[test]
fn a_file_that_cannot_fit_is_not_even_read() {
    let kept = Kept::new();
    kept.add(b"weights");
    let file = kept.place().join("2/weights.bpk");
    // It has no blocks on disk, but a reader would have as many bytes in memory.
    fs::File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
    let refused = kept.store.read(&kept.model, "2").unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(kept.store.read(&kept.model, "2").is_err());
}

#[test]
fn a_manifest_that_is_wrong_is_told_with_its_file() {
    let kept = Kept::new();
    kept.add(b"weights");
    let file = kept.place().join("2/manifest.toml");
    let good = fs::read_to_string(&file).unwrap();
    let of_other = |from: &str, to: &str| good.replace(from, to);
    for (text, part) in [
        ("not toml at all".to_string(), "manifest.toml is damaged"),
        (String::new(), "missing field"),
        (of_other("version = \"2\"", "version = \"3\""), "of another model or version"),
        (of_other("origin", "orogin"), "unknown field"),
        (of_other(kept.model.spec().sha256, &"0".repeat(64)), "made for another graph"),
    ] {
        fs::write(&file, &text).unwrap();
        let refused = kept.store.read(&kept.model, "2").unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
    // One that is damaged does not hide the others.
    fs::write(&file, "nothing").unwrap();
    kept.add(b"third");
    let all = kept.store.versions(&kept.model).unwrap();
    assert!(all.len() == 2 && all[0].1.is_err() && all[1].1.is_ok());
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(kept.store.read(&kept.model, "2").is_err());
}

#[test]
fn golden_logits_that_are_none_are_told() {
    let kept = Kept::new();
    kept.add(b"weights");
    let file = kept.place().join("2/reference_logits.txt");
    let manifest = kept.place().join("2/manifest.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    let digest = good.lines().find(|line| line.starts_with("golden")).unwrap();
    for (text, part) in [("0.5\n", "it has 1 lines"), ("0.5\nx\n", "is no number"), ("0.5\nNaN\n", "is no number")] {
        fs::write(&file, text).unwrap();
        let sha256 = Weights::new(text.as_bytes().to_vec()).sha256();
        fs::write(&manifest, good.replace(digest, &format!("golden = \"sha256:{sha256}\""))).unwrap();
        let refused = kept.store.read(&kept.model, "2").unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
    fs::remove_file(&file).unwrap();
    assert!(kept.store.read(&kept.model, "2").unwrap_err().to_string().contains("it is not there"));
}

#[test]
fn labels_that_are_wrong_are_told_and_not_guessed_at() {
    let kept = Kept::new();
    kept.add(b"weights");
    for (text, part) in [
        ("stable = 2", "labels.toml is damaged"),
        ("stabel = \"2\"", "unknown field"),
        ("canary = \"2\"", "needs a canary-share"),
        ("canary-share = 0.5", "but no canary"),
        ("canary = \"2\"\ncanary-share = 2.0", "from 0 to 1"),
        ("canary = \"2\"\ncanary-share = nan", "from 0 to 1"),
        ("stable = \"../../etc\"", "cannot be the name of a version"),
    ] {
        fs::write(kept.place().join("labels.toml"), text).unwrap();
        let refused = kept.store.labels(kept.name()).unwrap_err().to_string();
        assert!(refused.contains(part) && !refused.contains(".. "), "{refused}");
        // Nor are they overwritten by who does not know what they said.
        assert!(kept.store.promote(&kept.model, "2").is_err());
        assert_eq!(fs::read_to_string(kept.place().join("labels.toml")).unwrap(), text);
    }
}

#[test]
fn no_name_leads_out_of_the_folder_or_means_something_else() {
    let kept = Kept::new();
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
        let refused = kept.store.add_as(&kept.model, name, &weights, "a test", None).unwrap_err();
        assert!(matches!(refused, StoreError::Name { .. }), "{name:?}: {refused}");
        assert!(kept.store.read(&kept.model, name).is_err(), "{name:?}");
        assert!(kept.store.promote(&kept.model, name).is_err(), "{name:?}");
        assert!(kept.store.remove(&kept.model, name).is_err(), "{name:?}");
    }
    for name in ["", "..", "../x", "a/b", ".x"] {
        assert!(matches!(kept.store.labels(name), Err(StoreError::Name { .. })), "{name:?}");
        assert!(kept.store.files(name, &["2"]).is_empty(), "{name:?}");
    }
    assert_eq!(kept.store.files(kept.name(), &["../2"]).len(), 1, "the labels alone");
    assert_eq!(fs::read_dir(kept.folder.path()).unwrap().count(), 1, "nothing beside the store");
}

/// A process that ends between any two steps leaves what it had written so far.
#[test]
fn what_was_left_half_written_is_not_seen_and_in_nobodys_way() {
    let kept = Kept::new();
    kept.add(b"weights");
    kept.store.promote(&kept.model, "2").unwrap();
    // Before the renaming of a version's folder: some of its files, and the last of them in part.
    let half = kept.place().join(".3.4711-0");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("weights.bpk"), b"wei").unwrap();
    // Before the renaming of the labels.
    fs::write(kept.place().join(".labels.toml.4711-1"), "stab").unwrap();
    // A folder in which nothing was put yet, by somebody else.
    fs::create_dir(kept.place().join("7")).unwrap();
    assert_eq!(kept.stable(), "2");
    assert_eq!(kept.store.read(&kept.model, "2").unwrap().weights().bytes(), b"weights");
    let known: Vec<String> = kept.store.versions(&kept.model).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(known, ["2", "7"]);
    assert!(kept.store.promote(&kept.model, "7").is_err(), "there is no version without a manifest");
    assert_eq!(kept.add(b"next"), "8");
    kept.store.roll_back(&kept.model).unwrap();
    assert_eq!(kept.stable(), "1");
}

/// A writer that cannot go on takes back what it began.
#[test]
fn a_version_that_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("2");
    let failed = disk::new_folder(&place, |inside| {
        inside.write("weights.bpk", b"weights")?;
        inside.write("no/such/folder", b"")
    });
    assert!(matches!(failed, Err(StoreError::Io { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let labels = folder.path().join("labels.toml");
    fs::create_dir(&labels).unwrap();
    assert!(disk::replace(&labels, b"stable = \"2\"").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the folder that was in the way");
}
