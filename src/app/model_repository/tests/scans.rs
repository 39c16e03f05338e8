//! Which files a scan finds, and when they count.

use std::time::Duration;

use tokio::time::Instant;

use super::super::scanner::Scanner;
use super::super::status::status;
use super::Repository;

#[test]
fn two_scans_at_once_do_not_count() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one")]);
    repository.scanner = Scanner::new(repository.folder.path().to_path_buf(), Duration::from_millis(500));
    let start = Instant::now();
    let mut counts = |ms, is_command| {
        let now = start + Duration::from_millis(ms);
        match is_command {
            true => repository.scanner.scan_model("cat", now).unwrap().0,
            false => repository.scanner.scan(now).unwrap().is_settled(),
        }
    };
    let looks = [(0, false), (10, true), (20, false), (520, true), (530, false)];
    assert_eq!(looks.map(|(ms, is_command)| counts(ms, is_command)), [false, false, false, true, true]);
}

#[test]
fn command_for_one_model_changes_no_other_model() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one"), ("dog/1/model.onnx", "dog")]);
    repository.scan_twice();
    repository.write("cat/2/model.onnx", "two");
    repository.write("dog/2/model.onnx", "dog two");
    assert!(!repository.scan_model("cat") && repository.scan_model("cat"));
    assert_eq!(repository.reconcile(), ["cat/2 loaded"]);
    repository.remove("cat");
    assert!(!repository.scan_model("cat") && repository.scan_model("cat"));
    assert_eq!(repository.reconcile(), ["'two' unloaded", "'one' unloaded"]);
    repository.write("ant/notes.txt", "no version");
    assert!(!repository.scan_model("ant") && repository.scan_model("ant"));
    assert!(repository.reconciler.error("ant").is_some());
    for name in ["..", ".", "../dog", "lost+found", "", "cow"] {
        assert!(repository.scan_model(name) && !repository.reconciler.retry(name), "{name}");
    }
    assert_eq!(repository.loaded(), ["dog/1 dog"]);
    assert_eq!(repository.scan_twice(), ["dog/2 loaded"]);
}

#[cfg(unix)]
#[test]
fn weights_in_folders_below_the_network_are_followed() {
    let mut repository = Repository::new(&[
        ("cat/1/model.onnx", "one"),
        ("cat/1/weights/part/0.bin", "weights"),
        ("dog/model.onnx", "dog"),
        ("dog/weights/0.bin", "weights"),
    ]);
    // A circle, and a folder elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("..", repository.path("cat/1/weights/circle")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), repository.path("dog/linked")).unwrap();
    assert_eq!(repository.scan_twice(), ["cat/1 loaded", "dog/1 loaded"]);
    repository.write("cat/1/weights/part/0.bin", "other weights");
    repository.write("dog/weights/0.bin", "other weights");
    assert_eq!(repository.scan_twice(), ["cat/1 loaded", "'one' replaced", "dog/1 loaded", "'dog' replaced"]);
    std::fs::write(elsewhere.path().join("1.bin"), "more weights").unwrap();
    assert_eq!(repository.scan_twice(), ["dog/1 loaded", "'dog' replaced"]);
    repository.write("dog/2/model.onnx", "another version");
    assert_eq!(repository.scan_twice(), ["dog/2 loaded"]);
}

#[test]
fn status_shows_paths_relative_to_the_repository() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "")]);
    let root = repository.folder.path().to_path_buf();
    for folder in [root.clone(), root.canonicalize().unwrap()] {
        repository.write("cat/1/model.onnx", &format!("broken: see '{}'", folder.join("cat/1/labels.txt").display()));
        repository.scan_twice();
        let failure = status(&repository.reconciler, &root).remove(0).load_error.unwrap();
        assert_eq!(failure.reason, "broken: see 'cat/1/labels.txt'");
    }
}
