//! The folder as several processes use it: what is found after a crash, a damage, an attack, and while others write.

mod damaged;
mod hidden;
mod moved;
mod unfit;

use super::*;
use kiln_inference::model::{Model, Weights};

/// A store in a folder that goes with the test.
struct Kept {
    store: Store,
    folder: tempfile::TempDir,
    model: Model,
}

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::all().next().unwrap();
        Self { store: Store::open(folder.path().join("not/there/yet")), folder, model }
    }

    fn name(&self) -> &'static str {
        self.model.spec().name
    }

    /// Where the model's versions are.
    fn place(&self) -> PathBuf {
        self.store.folder().join(self.name())
    }

    fn add(&self, weights: &[u8]) -> String {
        let golden = vec![0.5; self.model.spec().labels.len()];
        self.store.add(&self.model, &Weights::new(weights.to_vec()), "a test", Some(&golden)).unwrap()
    }

    fn stable(&self) -> String {
        self.store.stable(&self.model).unwrap()
    }
}

#[test]
fn a_version_that_was_added_is_found_as_it_was() {
    let kept = Kept::new();
    assert!(kept.store.versions(&kept.model).unwrap().is_empty());
    // "1" is the one that was built in.
    assert_eq!((kept.add(b"first"), kept.add(b"second")), ("2".to_string(), "3".to_string()));
    let found = kept.store.read(&kept.model, "2").unwrap();
    assert_eq!((found.version(), found.weights().bytes()), ("2", &b"first"[..]));
    assert_eq!(found.reference_logits().unwrap().len(), kept.model.spec().labels.len());
    let all = kept.store.versions(&kept.model).unwrap();
    let (version, manifest) = &all[1];
    let manifest = manifest.as_ref().unwrap();
    assert_eq!((version.as_str(), manifest.origin.as_str()), ("3", "a test"));
    assert!(manifest.age().unwrap().as_secs() < 60, "{manifest:?}");
    assert_eq!(kept.store.read(&kept.model, "1").unwrap().digest(), kept.model.digest());
    // By a name of one's own, once.
    let weights = Weights::new(b"third".to_vec());
    kept.store.add_as(&kept.model, "2026-11_b", &weights, "a test", None).unwrap();
    assert!(kept.store.read(&kept.model, "2026-11_b").unwrap().reference_logits().is_none());
    for taken in ["2026-11_b", "2", "1"] {
        let refused = kept.store.add_as(&kept.model, taken, &weights, "a test", None).unwrap_err();
        assert!(matches!(refused, StoreError::Taken { .. }), "{refused}");
    }
    assert_eq!(kept.add(b"fourth"), "4");
}

#[test]
fn many_who_add_at_once_get_a_version_each() {
    let kept = Kept::new();
    let added: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let adding: Vec<_> = (0..8).map(|_| scope.spawn(|| kept.add(b"weights"))).collect();
        adding.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(added.len(), 8, "{added:?}");
    assert_eq!(kept.store.versions(&kept.model).unwrap().len(), 8);
}

#[test]
fn weights_are_written_to_a_file_of_ones_own_but_over_none() {
    let kept = Kept::new();
    let path = kept.folder.path().join("out.bpk");
    let weights = Weights::new(b"weights".to_vec());
    write_weights(&path, &weights).unwrap();
    assert_eq!(read_weights(&path, &kept.model).unwrap().bytes(), weights.bytes());
    assert!(write_weights(&path, &weights).is_err());
}
