//! Links between the documents, and to their sections, have a target.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::markdown::{anchors, prose};

/// Folders with documents. Subfolders are searched too, except those of the root.
const FOLDERS: [&str; 6] = [".", "benches", "deploy", "docs", "grafana", "model-import"];

fn documents(folder: &Path, deep: bool, found: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() && deep {
            documents(&path, deep, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.insert(path.canonicalize().unwrap(), std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_link_has_a_target() {
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        documents(Path::new(folder), folder != ".", &mut found);
    }
    let mut links = 0;
    for (path, text) in &found {
        let text = prose(text).join("\n");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            links += 1;
            let (file, section) = target.split_once('#').unwrap_or((target, ""));
            let other = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let other = other.canonicalize().unwrap_or_else(|_| panic!("{}: {target}: no such file", path.display()));
            if !section.is_empty() {
                let known = found.get(&other).map(|text| anchors(text)).unwrap_or_default();
                assert!(known.contains(section), "{}: {target}: no such section", path.display());
            }
        }
    }
    assert!(links > 60, "the links were not found");
}
