//! Links between the documents, and to their sections, have a target; the book lists every page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::markdown::{anchors, pages, prose};

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

/// Returns the targets of the links in a document, as written there.
fn targets(text: &str) -> Vec<String> {
    let text = prose(text).join("\n");
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_string).collect()
}

#[test]
fn every_link_has_a_target() {
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        documents(Path::new(folder), folder != ".", &mut found);
    }
    let mut links = 0;
    for (path, text) in &found {
        for target in targets(text).iter().filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
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

/// mdBook renders only the pages that `docs/SUMMARY.md` lists. A link of the book to another document would be broken.
#[test]
fn summary_of_the_book_lists_every_page_once() {
    let summary = std::fs::read_to_string("docs/SUMMARY.md").unwrap();
    let listed = targets(&summary);
    for page in pages().iter().filter(|page| *page != "docs/SUMMARY.md") {
        let target = page.strip_prefix("docs/").map_or_else(|| format!("../{page}"), str::to_string);
        let count = listed.iter().filter(|listed| **listed == target).count();
        assert_eq!(count, 1, "docs/SUMMARY.md must list {target} once");
    }
}
