//! Files that are not what they should be, in ways that would go unnoticed.

use std::fs;

use super::*;

fn in_manifest(kept: &Kept, version: &str, from: &str, to: &str) {
    let path = kept.place().join(version).join("manifest.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn the_check_of_the_logits_does_not_end_in_silence() {
    let kept = Kept::new();
    kept.add(b"weights");
    let file = kept.place().join("2/golden.txt");
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
