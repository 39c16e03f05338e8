//! The rule that imports go downwards only, read from the sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What each room may import of the rooms below it.
fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("main", &["app", "cli", "keys"][..]),
        ("cli", &["config", "inference"]),
        ("config", &["api", "batching", "image", "inference", "keys", "serve", "shutdown", "telemetry"]),
        (
            "app",
            &[
                "api",
                "batching",
                "classifier",
                "config",
                "image",
                "inference",
                "keys",
                "model",
                "readiness",
                "registry",
                "serve",
                "shutdown",
                "telemetry",
            ],
        ),
        ("api", &["classifier", "keys", "model", "readiness", "registry", "serve", "telemetry"]),
        ("registry", &["classifier"]),
        ("classifier", &["batching", "image", "inference", "model", "telemetry"]),
        ("batching", &["image", "inference", "readiness", "telemetry"]),
        ("inference", &["image", "model", "telemetry"]),
        ("serve", &["shutdown", "telemetry"]),
        ("shutdown", &["readiness"]),
        ("image", &[]),
        ("keys", &[]),
        ("model", &[]),
        ("readiness", &[]),
        ("telemetry", &[]),
    ])
}

/// Outside crates that only some rooms may name.
const OWNERS: [(&str, &[&str]); 10] = [
    ("burn", &["inference"]),
    ("burn_wgpu", &["inference"]),
    ("kiln_kernels", &["inference"]),
    ("model_import", &["inference", "model", "classifier"]),
    ("poem", &["api", "serve"]),
    ("poem_openapi", &["api"]),
    ("hyper", &["serve"]),
    ("image", &["image"]),
    ("fast_image_resize", &["image"]),
    ("clap", &["cli"]),
];

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
fn files() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let read = |path: PathBuf| {
        let inside = path.strip_prefix(&root).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (path, room, code.join("\n"))
    };
    paths.into_iter().filter(|path| !path.iter().any(|part| part == "tests" || part == "tests.rs")).map(read).collect()
}

/// The words that follow `prefix` in `code`, one level of braces looked into.
fn words_after(code: &str, prefix: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut words = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
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
fn rooms_import_downwards_only() {
    let allowed = allowed();
    let mut imports = 0;
    for (path, room, code) in files().into_iter().filter(|(_, room, _)| room != "lib") {
        let may = allowed.get(room.as_str()).unwrap_or_else(|| panic!("the room '{room}' has no rule"));
        let prefix = if room == "main" { "kiln::" } else { "crate::" };
        for other in words_after(&code, prefix) {
            imports += 1;
            assert!(
                other == room || may.contains(&other.as_str()),
                "{}: {room} must not import {other}",
                path.display()
            );
        }
    }
    assert!(imports > 50, "the imports were not found");
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let mut uses = 0;
    for (path, room, code) in files() {
        for (outside, rooms) in OWNERS {
            let named = code.lines().any(|line| {
                let line = line.trim_start();
                line.starts_with(&format!("use {outside}::"))
                    || line.contains(&format!(" {outside}::")) && outside != "image"
            });
            if named {
                uses += 1;
                let owns = rooms.contains(&room.as_str()) || (outside == "poem" && room == "main");
                assert!(owns, "{}: {room} must not know {outside}", path.display());
            }
        }
    }
    assert!(uses > 10, "the uses were not found");
}
