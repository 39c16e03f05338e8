//! Files that are not what they should be, in ways that would go unnoticed.

use std::fs;

use super::*;

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
