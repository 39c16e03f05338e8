//! Rules that hold for all sources, read from the sources and the manifests: layers, cycles, unsafe code, versions.
#![forbid(unsafe_code)]

mod crates;
mod file_cycles;
mod roots;

use roots::{locked, roots};

#[test]
fn every_crate_but_the_kernels_forbids_unsafe_code() {
    let roots = roots();
    assert!(roots.len() > 20, "the crates were not found");
    for root in roots {
        let code = std::fs::read_to_string(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
        assert!(
            code.lines().any(|line| line == "#![forbid(unsafe_code)]"),
            "{} does not forbid unsafe code",
            root.display()
        );
    }
}

/// The fuzzed code is the served code.
#[test]
fn fuzzer_and_server_use_the_same_dependency_versions() {
    let (server, fuzzer) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    let name = |package: &str| package.split(' ').next().unwrap().to_string();
    let served: Vec<String> = server.iter().map(|package| name(package)).collect();
    let shared: Vec<&String> = fuzzer.iter().filter(|package| served.contains(&name(package))).collect();
    assert!(shared.len() > 100, "the packages were not found");
    for package in shared {
        let advice = "copy Cargo.lock to fuzz/Cargo.lock and build there";
        assert!(server.contains(package), "the fuzzer uses {package}, the server another version: {advice}");
    }
}
