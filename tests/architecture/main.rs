//! The rules that hold for all sources, read from them: imports go downwards only, and no code but the kernels is unsafe.
#![forbid(unsafe_code)]

mod page;
mod roots;
mod rules;
mod sources;

use std::collections::BTreeSet;

use roots::{locked, roots};
use rules::{ANYWHERE, NAMESAKES, OWNERS, allowed};
use sources::{depth, files, has_path, words_after};

#[test]
fn rooms_import_downwards_only() {
    let allowed = allowed();
    let mut imports = BTreeSet::new();
    for (path, room, code) in files().into_iter().filter(|(_, room, _)| room != "lib") {
        let may = allowed.get(room.as_str()).unwrap_or_else(|| panic!("the room '{room}' has no rule"));
        let prefix = if room == "main" { "kiln::" } else { "crate::" };
        let upwards = "super::".repeat(depth(&path));
        let by_super = if upwards.is_empty() { Vec::new() } else { words_after(&code, &upwards) };
        for other in words_after(&code, prefix).into_iter().chain(by_super) {
            assert!(
                other == room || may.contains(&other.as_str()),
                "{}: {room} must not import {other}",
                path.display()
            );
            imports.insert((room.clone(), other));
        }
    }
    // A permission that nobody uses would let somebody in unseen.
    let permissions =
        allowed.iter().flat_map(|(room, may)| may.iter().map(|other| (room.to_string(), other.to_string())));
    let unused: Vec<_> = permissions.filter(|permission| !imports.contains(permission)).collect();
    assert!(unused.is_empty(), "tests/architecture/rules.rs allows what nobody imports: {unused:?}");
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let mut uses = 0;
    for (path, room, code) in files() {
        for (outside, rooms) in OWNERS {
            let start = format!("{outside}::");
            let is_named = match NAMESAKES.contains(&outside) {
                true => code.lines().any(|line| line.trim_start().starts_with(&format!("use {start}"))),
                false => has_path(&code, &start),
            };
            if is_named {
                uses += 1;
                assert!(rooms.contains(&room.as_str()), "{}: {room} must not know {outside}", path.display());
            }
        }
    }
    assert!(uses > 10, "the uses were not found");
}

#[test]
fn metrics_are_named_in_one_room() {
    for (path, room, code) in files() {
        let names = ["counter!(", "gauge!(", "histogram!("].iter().any(|call| code.contains(call));
        assert!(!names || room == "telemetry", "{}: {room} names a metric", path.display());
    }
}

#[test]
fn every_dependency_has_its_rooms() {
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    for name in manifest["dependencies"].as_table().unwrap().keys() {
        let name = name.replace('-', "_");
        let is_owned = OWNERS.iter().any(|(outside, _)| *outside == name);
        assert!(is_owned || ANYWHERE.contains(&name.as_str()), "{name} has no rooms");
    }
}

#[test]
fn only_kernels_may_be_unsafe() {
    let roots = roots();
    assert!(roots.len() > 20, "the crates were not found");
    for root in roots {
        let code = std::fs::read_to_string(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
        assert!(code.lines().any(|line| line == "#![forbid(unsafe_code)]"), "{} forbids nothing", root.display());
    }
}

/// What is fuzzed is what is served.
#[test]
fn the_fuzzer_has_the_versions_of_the_server() {
    let (server, fuzzer) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    let name = |package: &str| package.split(' ').next().unwrap().to_string();
    let served: Vec<String> = server.iter().map(|package| name(package)).collect();
    let shared: Vec<&String> = fuzzer.iter().filter(|package| served.contains(&name(package))).collect();
    assert!(shared.len() > 100, "the packages were not found");
    for package in shared {
        let outdated = "copy Cargo.lock to fuzz/Cargo.lock, and build there";
        assert!(server.contains(package), "the fuzzer has {package}, and the server another: {outdated}");
    }
}
