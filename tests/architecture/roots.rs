//! The crates by their root files, those of tests and benches among them, but for the kernels: those may be unsafe.

use std::path::PathBuf;

/// Roots that do not lie where each file is one.
const SINGLE: [&str; 7] = [
    "benches/compare/engine.rs",
    "fuzz/src/lib.rs",
    "model-import/build/main.rs",
    "model-import/graph/src/lib.rs",
    "model-import/src/lib.rs",
    "src/lib.rs",
    "src/main.rs",
];
/// Folders in which each file is a root, and each `main.rs` one folder further down.
const FOLDERS: [&str; 5] = ["benches", "fuzz/targets", "model-import/graph/tests", "model-import/tests", "tests"];

pub fn roots() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = SINGLE.iter().map(PathBuf::from).collect();
    for folder in FOLDERS {
        for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{folder}: {e}")) {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                roots.push(path);
            } else if path.join("main.rs").exists() {
                roots.push(path.join("main.rs"));
            }
        }
    }
    roots
}

/// Each package of a lock file, `name version`.
pub fn locked(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let lock: toml::Table = text.parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    packages
        .map(|package| format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap()))
        .collect()
}
