//! Tests of the store: versions and labels, crashes, corrupt files, invalid names, and concurrent writers.

mod concurrent_writers;
mod corrupt_files;
mod label_changes;
mod unservable_versions;

use super::*;
use kiln_inference::model::{Model, Weights};

/// A store in a temporary folder, with the first built-in model.
struct Fixture {
    store: ModelStore,
    folder: tempfile::TempDir,
    model: Model,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::all().next().unwrap();
        Self { store: ModelStore::open(folder.path().join("not/there/yet")), folder, model }
    }

    fn name(&self) -> &str {
        self.model.name()
    }

    /// Returns the folder of the model's versions.
    fn model_folder(&self) -> PathBuf {
        self.store.folder().join(self.name())
    }

    fn add(&self, weights: &[u8]) -> String {
        let logits = vec![0.5; self.model.spec().labels.len()];
        self.store.add(&self.model, &Weights::new(weights.to_vec()), "a test", Some(&logits)).unwrap()
    }

    fn stable(&self) -> String {
        self.store.stable(&self.model).unwrap()
    }
}

#[test]
fn added_version_is_read_back_unchanged() {
    let fixture = Fixture::new();
    assert!(fixture.store.versions(&fixture.model).unwrap().is_empty());
    // "1" is the built-in version.
    assert_eq!((fixture.add(b"first"), fixture.add(b"second")), ("2".to_string(), "3".to_string()));
    let found = fixture.store.read(&fixture.model, "2").unwrap();
    assert_eq!((found.version(), found.weights().unwrap().bytes()), ("2", &b"first"[..]));
    assert_eq!(found.reference_logits().unwrap().len(), fixture.model.spec().labels.len());
    let all = fixture.store.versions(&fixture.model).unwrap();
    let (version, manifest) = &all[1];
    let manifest = manifest.as_ref().unwrap();
    assert_eq!((version.as_str(), manifest.origin.as_str()), ("3", "a test"));
    assert!(manifest.age().unwrap().as_secs() < 60, "{manifest:?}");
    assert_eq!(fixture.store.read(&fixture.model, "1").unwrap().digest(), fixture.model.digest());
    // A chosen name can be used once.
    let weights = Weights::new(b"third".to_vec());
    fixture.store.add_as(&fixture.model, "2026-11_b", &weights, "a test", None).unwrap();
    assert!(fixture.store.read(&fixture.model, "2026-11_b").unwrap().reference_logits().is_none());
    for taken in ["2026-11_b", "2", "1"] {
        let refused = fixture.store.add_as(&fixture.model, taken, &weights, "a test", None).unwrap_err();
        assert!(matches!(refused, StoreError::VersionExists { .. }), "{refused}");
    }
    assert_eq!(fixture.add(b"fourth"), "4");
}

#[test]
fn concurrent_adds_get_distinct_versions() {
    let fixture = Fixture::new();
    let added: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let adding: Vec<_> = (0..8).map(|_| scope.spawn(|| fixture.add(b"weights"))).collect();
        adding.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(added.len(), 8, "{added:?}");
    assert_eq!(fixture.store.versions(&fixture.model).unwrap().len(), 8);
}

#[test]
fn write_weights_refuses_an_existing_file() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("out.bpk");
    let weights = Weights::new(b"weights".to_vec());
    write_weights(&path, &weights).unwrap();
    assert_eq!(read_weights(&path, &fixture.model).unwrap().bytes(), weights.bytes());
    assert!(write_weights(&path, &weights).is_err());
}
