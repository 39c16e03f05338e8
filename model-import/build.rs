//! Turns every `models/<name>/model.toml` into Burn code, weights, a `SPEC` and `LABELS`.
//!
//! manifest -> sha256 -> graph check -> fused layers -> burn-onnx -> `models.rs`. Anything that does not fit stops the build
//! with a sentence that says what to do.
#![forbid(unsafe_code)]

#[path = "build/domain/mod.rs"]
mod domain;
#[path = "build/emit.rs"]
mod emit;
#[path = "build/ending.rs"]
mod ending;
#[path = "build/error.rs"]
mod error;
#[path = "build/fuse/mod.rs"]
mod fuse;
#[path = "build/graph.rs"]
mod graph;
#[path = "build/manifest/mod.rs"]
mod manifest;
#[path = "build/proto.rs"]
#[allow(dead_code, reason = "`kiln import` shows what the build does not")]
mod proto;
#[path = "build/sanity.rs"]
mod sanity;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn_import::{LoadStrategy, ModelGen};

use domain::hooks;
use emit::Generated;
use error::Refusal;
use fuse::{Network, Obstacle};
use manifest::Model;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=models");
    println!("cargo::rerun-if-changed=tests/models");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=build.rs");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            // Cargo prints these lines as the error; the exit status stops the build.
            for line in refusal.to_string().lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Refusal> {
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let models = build_all(Path::new("models"), &out_dir)?;
    for (Generated { model, .. }, obstacle) in &models {
        if let Some(obstacle) = obstacle {
            println!(
                "cargo::warning=model '{}' runs unfused and slower: Kiln has no kernel for {obstacle}",
                model.manifest.name
            );
        }
    }
    let models: Vec<Generated> = models.into_iter().map(|(model, _)| model).collect();
    emit::write(&models, &out_dir, "models.rs")?;
    // Small networks of other architectures, which only a test of this crate includes.
    let folder = Path::new("tests/models");
    // Whoever builds from a copy without tests has none.
    let tested = if folder.is_dir() { build_all(folder, &out_dir)? } else { Vec::new() };
    let tested: Vec<Generated> = tested.into_iter().map(|(model, _)| model).collect();
    emit::write(&tested, &out_dir, "tested_models.rs")
}

/// Generates the networks of all models in a folder, each with what keeps it from being fused, if anything does.
fn build_all(folder: &Path, out_dir: &Path) -> Result<Vec<(Generated, Option<Obstacle>)>, Refusal> {
    let mut generated = Vec::new();
    for model in manifest::read_all(folder)? {
        let graph = graph::read(&model)?;
        graph::check(&model, &graph)?;
        let size = &model.manifest.input;
        let (network, obstacle) = match fuse::fuse(&graph, [size.height as usize, size.width as usize]) {
            Ok(network) => {
                network
                    .check_classes(model.labels.len())
                    .map_err(|reason| Refusal::Graph { model: model.manifest.name.clone(), reason })?;
                (Some(Arc::new(network)), None)
            }
            Err(obstacle) => (None, Some(obstacle)),
        };
        generate(&model, network.as_ref(), out_dir)?;
        generated.push((Generated { model, is_fused: network.is_some() }, obstacle));
    }
    Ok(generated)
}

/// Runs burn-onnx, whose only way to refuse is a panic.
fn generate(model: &Model, network: Option<&Arc<Network>>, out_dir: &Path) -> Result<(), Refusal> {
    let directory = out_dir.join(model.module_name());
    let input = match network {
        Some(network) => write_fused(model, network, &directory)?,
        None => model.onnx_path(),
    };
    Refusal::catch(&model.manifest.name, || {
        let mut generator = ModelGen::new();
        if let Some(network) = network {
            hooks::register(&mut generator, network);
        }
        generator
            .input(&input.display().to_string())
            .out_dir(&directory.display().to_string())
            .load_strategy(LoadStrategy::None)
            .run_from_cli();
        Ok(())
    })
}

/// Writes the fused network under the name of the model's own file, which burn-onnx's output is named after.
fn write_fused(model: &Model, network: &Network, directory: &Path) -> Result<PathBuf, Refusal> {
    let path = directory.join("fused").join(&model.manifest.onnx);
    let unwritable = |e: std::io::Error| Refusal::Unreadable { path: path.clone(), reason: e.to_string() };
    std::fs::create_dir_all(directory.join("fused")).map_err(unwritable)?;
    domain::write(network, &path).map_err(unwritable)?;
    Ok(path)
}
