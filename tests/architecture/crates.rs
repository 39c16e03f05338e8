//! The layers: which crate depends on which, which crate may use an outside library, and the order of a crate's modules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::file_cycles::{edges, sources};

const PAGE: &str = "docs/architecture.md";

/// Outside libraries that belong to one layer, with the only packages that may depend on them.
const OWNERS: [(&str, &[&str]); 16] = [
    ("burn", &["kiln-executor", "kiln-finetune", "kiln-inference", "kiln-kernels", "model-import"]),
    ("burn-wgpu", &["kiln-inference"]),
    ("kiln-kernels", &["kiln-executor", "kiln-inference", "model-import"]),
    ("poem", &["kiln-api", "kiln-server"]),
    ("poem-openapi", &["kiln-api"]),
    ("hyper", &["kiln-server"]),
    ("jsonwebtoken", &["kiln-server"]),
    ("image", &["kiln-image"]),
    ("fast_image_resize", &["kiln-image"]),
    ("rayon", &["kiln-image"]),
    ("moka", &["kiln-classifier", "kiln-server"]),
    ("rusqlite", &["kiln-feedback"]),
    ("metrics", &["kiln-runtime"]),
    ("opentelemetry_sdk", &["kiln-runtime"]),
    ("tracing-subscriber", &["kiln-runtime"]),
    ("clap", &["kiln"]),
];

/// The modules of crates that hold several, the highest first. A module may import those after it. `root` stands for the files
/// beside `lib.rs` that are no module of the list.
const MODULES: [(&str, &[&str]); 5] = [
    ("src", &["app", "cli", "config", "model_store", "import", "predict", "bench", "shell"]),
    (
        "crates/runtime/src",
        &["supervisor", "shutdown", "readiness", "telemetry", "file_watcher", "blocking", "scheduling", "doc_tables"],
    ),
    ("crates/classifier/src", &["registry", "root", "batching", "cache", "options"]),
    ("crates/inference/src", &["root", "model"]),
    ("crates/server/src", &["root", "auth"]),
];

/// Each package of the workspace with the names in its `[dependencies]`.
fn packages() -> BTreeMap<String, Vec<String>> {
    let mut manifests = vec![PathBuf::from("Cargo.toml"), PathBuf::from("shaders/Cargo.toml")];
    for folder in ["crates", "model-import", "."] {
        for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{folder}: {e}")) {
            let manifest = entry.unwrap().path().join("Cargo.toml");
            let is_member = manifest.starts_with("crates") || manifest.starts_with("model-import");
            if is_member && manifest.is_file() {
                manifests.push(manifest);
            }
        }
    }
    manifests.push(PathBuf::from("model-import/Cargo.toml"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let manifest: toml::Table = text.parse().unwrap();
        let dependencies = manifest.get("dependencies").and_then(|table| table.as_table());
        let names = dependencies.into_iter().flat_map(|table| table.keys().cloned()).collect();
        (manifest["package"]["name"].as_str().unwrap().to_string(), names)
    };
    manifests.into_iter().map(read).collect()
}

#[test]
fn outside_libraries_stay_in_their_layer() {
    let packages = packages();
    assert!(packages.len() > 10, "the packages were not found");
    for (library, owners) in OWNERS {
        for owner in owners {
            assert!(packages[*owner].iter().any(|name| name == library), "{owner} does not use {library} any more");
        }
        for (package, dependencies) in &packages {
            let uses = dependencies.iter().any(|name| name == library);
            assert!(!uses || owners.contains(&package.as_str()), "{package} must not depend on {library}");
        }
    }
}

#[test]
fn modules_import_downwards_only() {
    for (root, order) in MODULES {
        let sources = sources(Path::new(root));
        let layer = |module: &[String]| {
            let name = module.first().map_or("root", String::as_str);
            order
                .iter()
                .position(|module| *module == name)
                .or_else(|| order.iter().position(|module| *module == "root"))
        };
        for module in order.iter().filter(|module| **module != "root") {
            assert!(sources.contains_key(&vec![module.to_string()]), "{root} has no module '{module}'");
        }
        for (module, targets) in edges(&sources) {
            let Some(from) = layer(module) else { continue };
            for target in targets {
                let Some(to) = layer(target) else { continue };
                assert!(from <= to, "{root}: {} must not import {}", module.join("::"), target.join("::"));
            }
        }
    }
}

#[test]
fn architecture_page_lists_every_crate_with_its_dependencies() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let packages = packages();
    for (package, dependencies) in &packages {
        let internal = dependencies.iter().filter(|name| packages.contains_key(*name));
        let internal: Vec<String> = internal.map(|name| format!("`{name}`")).collect();
        let row = page.lines().find(|line| line.starts_with(&format!("| `{package}` | ")));
        let row = row.unwrap_or_else(|| panic!("{PAGE} has no row for the crate '{package}'"));
        let end = format!(" | {} |", internal.join(", "));
        assert!(row.ends_with(&end), "{PAGE}: the row of '{package}' has to end with\n{end}");
    }
    let table = page.split("| crate | ").nth(1).expect("the page has a table of crates");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|')).count();
    assert_eq!(rows, packages.len(), "{PAGE} lists crates that do not exist");
}

#[test]
fn files_named_in_the_architecture_page_exist() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut found = 0;
    for name in page.split('`').skip(1).step_by(2).filter(|name| name.contains('/') && !name.contains(' ')) {
        found += 1;
        assert!(Path::new(name).exists(), "{PAGE} names {name}, which does not exist");
    }
    assert!(found > 10, "the files were not found");
}
