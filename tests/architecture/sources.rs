//! Reads imports from the sources.

use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each source file with its room and its code: no comments, and nothing from the first test module on.
pub fn files() -> Vec<(PathBuf, String, String)> {
    let root = Path::new("src");
    let mut paths = Vec::new();
    sources(root, &mut paths);
    let read = |path: PathBuf| {
        let inside = path.strip_prefix(root).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (path, room, code.join("\n"))
    };
    paths.into_iter().filter(|path| !path.iter().any(|part| part == "tests" || part == "tests.rs")).map(read).collect()
}

/// How many modules a file is below the crate's root: as many `super::` lead out of its room.
pub fn depth(path: &Path) -> usize {
    let inside = path.strip_prefix(Path::new("src")).unwrap();
    let is_root = |name: &str| inside.ends_with(name);
    inside.iter().count() - usize::from(is_root("mod.rs") || is_root("main.rs") || is_root("lib.rs"))
}

/// Whether a path in `code` begins so.
pub fn has_path(code: &str, start: &str) -> bool {
    code.match_indices(start).any(|(at, _)| begins(code, at))
}

/// Whether a path may begin at that place.
fn begins(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
}

/// The words that follow `prefix` in `code`, one level of braces looked into.
pub fn words_after(code: &str, prefix: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut words = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if !begins(code, at) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if let Some(braced) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in braced.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => words.push(word(std::mem::take(&mut item).trim())),
                    c => item.push(c),
                }
            }
            words.push(word(item.trim()));
        } else {
            words.push(word(rest));
        }
    }
    words.retain(|word| !word.is_empty() && word != "self");
    words
}

#[test]
fn words_are_found_in_every_shape_of_an_import() {
    let code = "use crate::one::A;\nuse crate::{two, three::{B, C}};\nuse super::super::four::D;\nfive::crate::no();";
    assert_eq!(words_after(code, "crate::"), ["one", "two", "three"]);
    assert_eq!(words_after(code, "super::super::"), ["four"]);
    assert!(has_path("fn a(b: &one::B)", "one::") && has_path("(<one::B>::new())", "one::"));
    assert!(!has_path("two::one::B, another_one::B", "one::"));
    let root = Path::new("src");
    let depths = ["main.rs", "api/mod.rs", "model.rs", "api/error.rs"].map(|file| depth(&root.join(file)));
    assert_eq!(depths, [0, 1, 1, 2]);
}
