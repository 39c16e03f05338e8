//! Files that are not what they should be, in ways that would go unnoticed.

use std::fs;

use super::*;

#[test]
fn a_manifest_brings_nothing_to_the_terminal() {
    let kept = Kept::new();
    kept.add(b"weights");
    let path = kept.place().join("2/manifest.toml");
    let good = fs::read_to_string(&path).unwrap();
    for key in ["weights", "graph"] {
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
