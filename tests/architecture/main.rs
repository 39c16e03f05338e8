//! The rule that imports go downwards only, read from the sources.

mod rules;
mod sources;

use rules::{ANYWHERE, OWNERS, allowed};
use sources::{depth, files, words_after};

#[test]
fn rooms_import_downwards_only() {
    let allowed = allowed();
    let mut imports = 0;
    for (path, room, code) in files().into_iter().filter(|(_, room, _)| room != "lib") {
        let may = allowed.get(room.as_str()).unwrap_or_else(|| panic!("the room '{room}' has no rule"));
        let prefix = if room == "main" { "kiln::" } else { "crate::" };
        let upwards = "super::".repeat(depth(&path));
        let by_super = if upwards.is_empty() { Vec::new() } else { words_after(&code, &upwards) };
        for other in words_after(&code, prefix).into_iter().chain(by_super) {
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
