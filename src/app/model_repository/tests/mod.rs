//! Scans of temporary folders and reconciliation, driven by hand: no engine, no clock.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::reconciler::Reconciler;
use super::scanner::Scanner;
use super::snapshot::VersionKey;
use super::status::{reasons, status};
use super::version_load::content_digest;

mod scans;
mod with_engines;

/// A repository whose loaded versions are the texts of their networks. A text that begins with `broken` does not load.
struct Repository {
    folder: tempfile::TempDir,
    scanner: Scanner,
    reconciler: Reconciler<String>,
}

impl Repository {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scanner = Scanner::new(folder.path().to_path_buf(), Duration::ZERO);
        let repository = Self { folder, scanner, reconciler: Reconciler::new(["fixed".to_string()].into()) };
        files.iter().for_each(|(path, text)| repository.write(path, text));
        repository
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file under another name and renames it, so that its state always differs from before.
    fn write(&self, path: &str, text: &str) {
        let (path, new) = (self.path(path), self.path(".new"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_dir_all(self.path(path)).unwrap();
    }

    /// Scans once; returns the paths of folders that have become invalid.
    fn scan(&mut self) -> Vec<PathBuf> {
        let scan = self.scanner.scan(Instant::now()).unwrap();
        self.reconciler.observe(scan).into_iter().map(|folder| folder.path).collect()
    }

    /// Scans one model. Returns whether its files are settled.
    fn scan_model(&mut self, model: &str) -> bool {
        let (is_settled, scan) = self.scanner.scan_model(model, Instant::now()).unwrap();
        self.reconciler.observe(scan);
        is_settled
    }

    /// Loads all that is missing, and unloads what is not used. Returns what happened.
    fn reconcile(&mut self) -> Vec<String> {
        let mut steps = Vec::new();
        while let Some(planned) = self.reconciler.next_load() {
            let name = format!("{}/{}", planned.key.model, planned.key.version());
            let text = std::fs::read_to_string(&planned.files.onnx).unwrap();
            let digest = content_digest(&planned.files).unwrap();
            if planned.loaded_digest.as_ref() == Some(&digest) {
                steps.push(format!("{name} same"));
                self.reconciler.keep(planned);
            } else if text.starts_with("broken") {
                steps.push(format!("{name} failed"));
                self.reconciler.reject(planned, text);
            } else {
                let replaced = self.reconciler.add(planned, digest, text);
                steps.push(format!("{name} loaded"));
                steps.extend(replaced.map(|replaced| format!("'{replaced}' replaced")));
            }
        }
        steps.extend(self.reconciler.take_unused().into_iter().map(|unused| format!("'{unused}' unloaded")));
        steps
    }

    fn scan_twice(&mut self) -> Vec<String> {
        self.scan();
        self.scan();
        self.reconcile()
    }

    fn loaded(&self) -> Vec<String> {
        let loaded = self.reconciler.loaded();
        loaded.map(|(key, text)| format!("{}/{} {text}", key.model, key.version())).collect()
    }
}

#[test]
fn versions_are_folders_with_numbers_and_a_network() {
    let mut repository = Repository::new(&[
        ("cat/2/model.onnx", "two"),
        ("cat/10/model.onnx", "ten"),
        ("cat/config.pbtxt", "ignored"),
        ("cat/03/model.onnx", "leading zero"),
        ("cat/0/model.onnx", "zero"),
        ("cat/v4/model.onnx", "no number"),
        ("cat/5/other.onnx", "no network"),
        ("dog/model.onnx", "one"),
        (".hidden/1/model.onnx", "hidden"),
        ("lost+found/notes.txt", "of the file system"),
        ("empty/notes.txt", "no version"),
        ("not a name/1/model.onnx", "invalid name"),
        ("model.onnx", "not in a folder"),
    ]);
    let mut invalid = repository.scan();
    invalid.sort();
    assert_eq!(invalid, [repository.path("empty"), repository.path("not a name")]);
    assert_eq!(repository.reconcile(), [""; 0], "files that were just written are not opened");
    assert!(repository.scan().is_empty(), "reported once");
    assert_eq!(repository.reconcile(), ["cat/10 loaded", "cat/2 loaded", "dog/1 loaded"]);
    assert_eq!(repository.loaded(), ["cat/10 ten", "cat/2 two", "dog/1 one"]);
    assert!(repository.reconciler.error("empty").unwrap().contains("VERSION/model.onnx"));
    repository.write("dog/1/model.onnx", "one in a folder");
    assert_eq!(repository.scan_twice(), ["dog/1 loaded", "'one' replaced"]);
}

#[test]
fn files_that_were_not_modified_lately_are_loaded_at_the_first_scan() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "old"), ("dog/1/model.onnx", "new")]);
    let old = std::fs::File::options().write(true).open(repository.path("cat/1/model.onnx")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    let scan = repository.scanner.scan(Instant::now()).unwrap();
    assert!(!scan.is_settled());
    repository.reconciler.observe(scan);
    assert_eq!(repository.reconcile(), ["cat/1 loaded"]);
    let scan = repository.scanner.scan(Instant::now()).unwrap();
    assert!(scan.is_settled());
    repository.reconciler.observe(scan);
    assert_eq!(repository.reconcile(), ["dog/1 loaded"]);
}

#[test]
fn file_that_still_changes_is_not_opened() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one")]);
    assert_eq!(repository.scan_twice(), ["cat/1 loaded"]);
    for text in ["t", "tw", "two"] {
        repository.write("cat/1/model.onnx", text);
        repository.write("cat/2/model.onnx", text);
        repository.scan();
        assert_eq!(repository.reconcile(), [""; 0], "{text}");
    }
    repository.scan();
    assert_eq!(repository.reconcile(), ["cat/2 loaded", "cat/1 loaded", "'one' replaced"]);
    // A version that waits to be loaded changes again.
    repository.write("cat/3/model.onnx", "three");
    repository.scan();
    repository.scan();
    repository.write("cat/3/model.onnx", "three more");
    repository.scan();
    assert_eq!(repository.reconcile(), [""; 0]);
    repository.scan();
    assert_eq!(repository.reconcile(), ["cat/3 loaded"]);
}

#[test]
fn only_changed_content_is_loaded_again() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one"), ("cat/labels.txt", "tabby")]);
    assert_eq!(repository.scan_twice(), ["cat/1 loaded"]);
    repository.write("cat/1/model.onnx", "one");
    assert_eq!(repository.scan_twice(), ["cat/1 same"]);
    assert_eq!(repository.scan_twice(), [""; 0]);
    repository.write("cat/labels.txt", "siamese");
    assert_eq!(repository.scan_twice(), ["cat/1 loaded", "'one' replaced"]);
    repository.write("cat/1/weights.bin", "external data");
    assert_eq!(repository.scan_twice(), ["cat/1 loaded", "'one' replaced"]);
    repository.write("cat/config.pbtxt", "ignored");
    assert_eq!(repository.scan_twice(), [""; 0]);
}

#[test]
fn broken_file_changes_nothing_that_is_served_and_fails_once() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one"), ("dog/1/model.onnx", "broken dog")]);
    assert_eq!(repository.scan_twice(), ["cat/1 loaded", "dog/1 failed"]);
    assert_eq!(repository.scan_twice(), [""; 0]);
    repository.write("cat/1/model.onnx", "broken one");
    repository.write("cat/2/model.onnx", "broken two");
    assert_eq!(repository.scan_twice(), ["cat/2 failed", "cat/1 failed"]);
    assert_eq!(repository.scan_twice(), [""; 0]);
    assert_eq!(repository.loaded(), ["cat/1 one"]);
    assert_eq!(repository.reconciler.error("cat"), Some("broken two"));
    let all = status(&repository.reconciler, repository.folder.path());
    let shown =
        all.iter().map(|one| (one.version.as_deref().unwrap(), one.state.to_string(), one.load_error.is_some()));
    let shown: Vec<_> = shown.collect();
    let (ready, unavailable) = ("READY".to_string(), "UNAVAILABLE".to_string());
    assert_eq!(shown, [("2", unavailable.clone(), true), ("1", ready, true), ("1", unavailable, true)]);
    let expected = ["cat/2/model.onnx: broken two", "cat/1/model.onnx: broken one", "dog/1/model.onnx: broken dog"];
    assert_eq!(reasons(all), expected.map(|line| format!("  {line}")).join("\n"));
    // While the file changes again, the error stays.
    repository.write("cat/2/model.onnx", "broken again");
    repository.scan();
    assert_eq!(repository.reconciler.error("cat"), Some("broken two"));
    repository.scan();
    assert_eq!(repository.reconcile(), ["cat/2 failed"]);
    repository.write("cat/2/model.onnx", "two");
    repository.write("cat/1/model.onnx", "one");
    assert_eq!(repository.scan_twice(), ["cat/2 loaded", "cat/1 same"]);
    assert_eq!(repository.reconciler.error("cat"), None);
    repository.remove("dog");
    assert_eq!(repository.scan_twice(), [""; 0]);
    assert_eq!(repository.reconciler.error("dog"), None);
}

#[test]
fn removed_version_stays_until_its_replacement_is_loaded() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one"), ("dog/1/model.onnx", "dog")]);
    repository.scan_twice();
    repository.remove("cat/1");
    repository.write("cat/2/model.onnx", "broken two");
    repository.remove("dog");
    repository.scan();
    assert_eq!(repository.reconcile(), [""; 0], "a folder may be absent for a moment while it is replaced");
    repository.scan();
    assert_eq!(repository.reconcile(), ["cat/2 failed", "'dog' unloaded"]);
    repository.write("cat/2/model.onnx", "two");
    assert_eq!(repository.scan_twice(), ["cat/2 loaded", "'one' unloaded"]);
    repository.write("cat/3/model.onnx", "three");
    repository.scan_twice();
    repository.remove("cat/3");
    assert_eq!(repository.scan_twice(), ["'three' unloaded"]);
    assert_eq!(repository.loaded(), ["cat/2 two"]);
}

#[test]
fn removed_version_stays_while_its_replacement_is_copied() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one")]);
    repository.scan_twice();
    repository.remove("cat/1");
    for part in ["t", "tw", "two"] {
        repository.write("cat/2/model.onnx", part);
        repository.scan();
        assert_eq!(repository.reconcile(), [""; 0], "the copy is at '{part}'");
    }
    repository.scan();
    assert_eq!(repository.reconcile(), ["cat/2 loaded", "'one' unloaded"]);
}

#[test]
fn result_of_a_load_is_not_used_if_the_version_was_removed_meanwhile() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one"), ("cat/2/model.onnx", "two")]);
    repository.scan();
    repository.scan();
    let planned = repository.reconciler.next_load().unwrap();
    assert_eq!(planned.key, VersionKey::new("cat", 2));
    repository.remove("cat/2");
    repository.scan();
    repository.scan();
    assert_eq!(repository.reconciler.add(planned.clone(), "digest".to_string(), "two".to_string()), None);
    assert_eq!(repository.reconcile(), ["cat/1 loaded", "'two' unloaded"]);
    repository.reconciler.reject(planned, "broken".to_string());
    assert!(repository.reconciler.report().iter().all(|version| version.failure.is_none()));
}

#[test]
fn unloaded_model_stays_away_until_it_is_loaded() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one")]);
    repository.scan_twice();
    assert!(repository.reconciler.unload("cat") && !repository.reconciler.unload("cow"));
    assert_eq!(repository.reconcile(), ["'one' unloaded"]);
    repository.write("cat/2/model.onnx", "broken");
    assert_eq!(repository.scan_twice(), [""; 0]);
    assert!(repository.reconciler.report().iter().all(|version| version.is_unloaded && !version.is_loaded));
    // The command reads the files when they do not change any more.
    for text in ["th", "three"] {
        repository.write("cat/3/model.onnx", text);
        assert!(!repository.scan_model("cat"), "{text}");
    }
    assert!(repository.scan_model("cat"));
    assert!(repository.reconciler.retry("cat") && !repository.reconciler.retry("cow"));
    assert!(repository.reconciler.is_pending("cat"));
    assert_eq!(repository.reconcile(), ["cat/3 loaded", "cat/2 failed", "cat/1 loaded"]);
    assert!(!repository.reconciler.is_pending("cat"));
    assert!(repository.reconciler.retry("cat"));
    assert_eq!(repository.reconcile(), ["cat/2 failed"], "a command tries again what failed");
}

#[test]
fn names_of_other_models_are_refused() {
    let mut repository = Repository::new(&[("fixed/1/model.onnx", "one")]);
    repository.scan();
    assert_eq!(repository.scan_twice(), [""; 0]);
    assert!(repository.reconciler.error("fixed").unwrap().contains("outside --models"));
    assert!(!repository.reconciler.unload("fixed"));
}

#[test]
fn folder_that_cannot_be_read_is_an_error_and_changes_nothing() {
    let mut repository = Repository::new(&[("cat/1/model.onnx", "one")]);
    repository.scan_twice();
    let moved = repository.folder.path().with_extension("moved");
    std::fs::rename(repository.folder.path(), &moved).unwrap();
    assert!(repository.scanner.scan(Instant::now()).is_err());
    assert!(repository.scanner.scan_model("cat", Instant::now()).is_err());
    std::fs::rename(&moved, repository.folder.path()).unwrap();
    assert_eq!(repository.scan_twice(), [""; 0]);
    assert_eq!(repository.loaded(), ["cat/1 one"]);
}
