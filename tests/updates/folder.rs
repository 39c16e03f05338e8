//! A store for a test, and the commands on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln::store::Store;

use crate::common::{self, Server, kiln, said};
use crate::weights::{NAME, model, version};

/// Longer than a version takes to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn store(&self) -> Store {
        Store::open(self.path())
    }

    /// A file beside the versions.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Adds a version for which one class wins, without asking whether it fits.
    pub fn add(&self, class: usize) -> String {
        self.store().add(&model(), &version(class), "a test", None).unwrap()
    }

    /// `kiln models` with the store: status, what it said and what it complained of.
    pub fn try_models(&self, words: &[&str]) -> (i32, String, String) {
        said(kiln().arg("models").args(words).env("KILN_MODEL_STORE", self.path()))
    }

    /// The same for what has to be done.
    pub fn models(&self, words: &[&str]) -> String {
        let (status, told, complaint) = self.try_models(words);
        assert_eq!(status, 0, "{words:?}: {complaint}");
        told
    }

    /// Makes a version stable by hand, whatever is wrong with it.
    pub fn make_stable(&self, version: &str) {
        std::fs::write(self.path().join(NAME).join("labels.toml"), format!("stable = \"{version}\"\n")).unwrap();
    }

    /// A server that follows it.
    pub fn serve(&self) -> Server {
        self.serve_on(&["--device", "cpu"])
    }

    /// The same with other flags.
    pub fn serve_on(&self, flags: &[&str]) -> Server {
        let store = self.path().to_str().unwrap();
        Server::start(&[flags, &["--model-store", store, "--request-timeout", "5m"]].concat())
    }
}

/// Waits until the server tells that this is so.
#[track_caller]
pub fn until(server: &Server, what: &str, is: impl Fn() -> bool) {
    common::until(what, PATIENCE, is, || server.get(&format!("/models/{NAME}")).json()["versions"].to_string());
}

/// The versions that a server has loaded, with their labels.
pub fn versions(server: &Server) -> Vec<(String, Vec<String>)> {
    let body = server.get(&format!("/models/{NAME}")).json();
    let labels = |version: &serde_json::Value| {
        version["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap().to_string()).collect()
    };
    let all = body["versions"].as_array().unwrap().iter();
    all.map(|version| (version["version"].as_str().unwrap().to_string(), labels(version))).collect()
}

/// Waits until the versions and their labels are these.
pub fn until_served(server: &Server, wanted: &[(&str, &[&str])]) {
    let is = |found: Vec<(String, Vec<String>)>| {
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| a.0 == b.0 && a.1 == b.1)
    };
    until(server, &format!("{wanted:?}"), || is(versions(server)));
}
