//! The root files of all crates, those of tests and benches among them, but for the kernels, which may use unsafe code.

use std::path::PathBuf;

/// Root files outside the folders below.
const SINGLE: [&str; 7] = [
    "benches/compare/engine.rs",
    "benches/zoo/engine.rs",
    "fuzz/src/lib.rs",
    "model-import/build/main.rs",
    "model-import/src/lib.rs",
    "src/lib.rs",
    "src/main.rs",
];
/// Folders in which each file is a root, and each `main.rs` one folder further down.
const FOLDERS: [&str; 5] = ["benches", "fuzz/targets", "model-import/executor/tests", "model-import/tests", "tests"];

/// Every root file.
pub fn roots() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = SINGLE.iter().map(PathBuf::from).collect();
    let entries = |folder: &str| {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{folder}: {e}"));
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    for path in FOLDERS.into_iter().flat_map(entries) {
        if path.extension().is_some_and(|extension| extension == "rs") {
            roots.push(path);
        } else if path.join("main.rs").exists() {
            roots.push(path.join("main.rs"));
        }
    }
    for folder in ["crates", "model-import"] {
        roots.extend(entries(folder).into_iter().map(|path| path.join("src/lib.rs")).filter(|root| root.exists()));
    }
    roots
}

/// Each package of a lock file, as `name version`; the workspace's own are left out.
pub fn locked(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let lock: toml::Table = text.parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter().filter(|package| package.get("source").is_some());
    packages
        .map(|package| format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap()))
        .collect()
}
