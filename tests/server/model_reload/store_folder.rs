//! A temporary model store, `kiln models` commands on it, and servers that follow it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln::model_store::ModelStore;

use super::weights::{NAME, model, predicting};
use crate::common::{self, Server, kiln, run_command};

/// Longer than a version takes to load on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

pub struct StoreFolder(tempfile::TempDir);

impl StoreFolder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn store(&self) -> ModelStore {
        ModelStore::open(self.path())
    }

    /// Writes a file beside the versions.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Adds a version that predicts `class`, without the checks of `kiln models add`.
    pub fn add(&self, class: usize) -> String {
        self.store().add(&model(), &predicting(class), "a test", None).unwrap()
    }

    /// Runs `kiln models` on the store. Returns the exit status, standard output and standard error.
    pub fn try_models(&self, arguments: &[&str]) -> (i32, String, String) {
        run_command(kiln().arg("models").args(arguments).env("KILN_MODEL_STORE", self.path()))
    }

    /// Runs `kiln models` and returns its output. Panics if it fails.
    pub fn models(&self, arguments: &[&str]) -> String {
        let (status, stdout, stderr) = self.try_models(arguments);
        assert_eq!(status, 0, "{arguments:?}: {stderr}");
        stdout
    }

    /// Labels a version as stable without the checks of `kiln models promote`.
    pub fn make_stable(&self, version: &str) {
        std::fs::write(self.path().join(NAME).join("labels.toml"), format!("stable = \"{version}\"\n")).unwrap();
    }

    /// Starts a server on the CPU that follows the store.
    pub fn serve(&self) -> Server {
        self.serve_on(&["--device", "cpu"])
    }

    /// Starts a server with other flags that follows the store.
    pub fn serve_on(&self, flags: &[&str]) -> Server {
        let store = self.path().to_str().unwrap();
        Server::start(&[flags, &["--model-store", store, "--request-timeout", "5m"]].concat())
    }
}

/// Waits until `holds` returns true.
#[track_caller]
pub fn until(server: &Server, what: &str, holds: impl Fn() -> bool) {
    common::until(what, TIMEOUT, holds, || server.get(&format!("/models/{NAME}")).json()["versions"].to_string());
}

/// Returns the loaded versions with their labels.
pub fn versions(server: &Server) -> Vec<(String, Vec<String>)> {
    let body = server.get(&format!("/models/{NAME}")).json();
    let labels = |version: &serde_json::Value| {
        version["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap().to_string()).collect()
    };
    let all = body["versions"].as_array().unwrap().iter();
    all.map(|version| (version["version"].as_str().unwrap().to_string(), labels(version))).collect()
}

/// Waits until exactly these versions with these labels are loaded.
pub fn until_served(server: &Server, expected: &[(&str, &[&str])]) {
    let matches = |found: Vec<(String, Vec<String>)>| {
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.0 == b.0 && a.1 == b.1)
    };
    until(server, &format!("{expected:?}"), || matches(versions(server)));
}
