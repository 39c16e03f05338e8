//! Turns every `models/<name>/model.toml` into Burn code, weights, a `SPEC` and `LABELS`.
//!
//! manifest -> digest -> graph check -> fused layers (all `kiln-graph`) -> ONNX file of the private domain -> burn-onnx ->
//! `models.rs`. A model that does not fit stops the build with a message that names the next step.
#![forbid(unsafe_code)]

mod emit;
mod fused_onnx;
mod hooks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn_import::{LoadStrategy, ModelGen};
use kiln_graph::{Graph, Model, ModelError, Network, Unfusable, fuse, read_models};

use emit::Generated;

fn main() -> ExitCode {
    // Cargo reruns the script by itself after a change in its sources or in kiln-graph.
    println!("cargo::rerun-if-changed=models");
    println!("cargo::rerun-if-changed=tests/models");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Cargo prints these lines as the error; the exit status stops the build.
            for line in error.to_string().lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), ModelError> {
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let models = build_all(Path::new("models"), &out_dir)?;
    for (Generated { model, .. }, unfusable) in &models {
        if let Some(unfusable) = unfusable {
            println!(
                "cargo::warning=model '{}' runs unfused and slower: Kiln has no kernel for {unfusable}",
                model.manifest.name
            );
        }
    }
    let models: Vec<Generated> = models.into_iter().map(|(model, _)| model).collect();
    emit::write(&models, &out_dir, "models.rs")?;
    // Small networks of other architectures, which only the tests of this crate include. A copy without tests has none.
    let folder = Path::new("tests/models");
    let tested = if folder.is_dir() { build_all(folder, &out_dir)? } else { Vec::new() };
    let tested: Vec<Generated> = tested.into_iter().map(|(model, _)| model).collect();
    emit::write(&tested, &out_dir, "tested_models.rs")
}

/// Generates the networks of all models in a folder. A network that cannot be fused comes with the reason.
fn build_all(folder: &Path, out_dir: &Path) -> Result<Vec<(Generated, Option<Unfusable>)>, ModelError> {
    let mut generated = Vec::new();
    for model in read_models(folder)? {
        let graph = Graph::read_model(&model)?;
        graph.check_model(&model)?;
        let size = &model.manifest.input;
        let (network, unfusable) = match fuse(&graph, [size.height as usize, size.width as usize]) {
            Ok(network) => {
                network
                    .check_classes(model.labels.len())
                    .map_err(|reason| ModelError::Graph { model: model.manifest.name.clone(), reason })?;
                (Some(Arc::new(network)), None)
            }
            Err(unfusable) => {
                graph.check_unfused().map_err(|reason| ModelError::Graph {
                    model: model.manifest.name.clone(),
                    reason: format!("{reason} Serve the ONNX file at start instead: 'kiln serve FILE' needs no build."),
                })?;
                (None, Some(unfusable))
            }
        };
        generate(&model, network.as_ref(), out_dir)?;
        generated.push((Generated { model, is_fused: network.is_some() }, unfusable));
    }
    Ok(generated)
}

/// Runs burn-onnx, which reports errors only by panics.
fn generate(model: &Model, network: Option<&Arc<Network>>, out_dir: &Path) -> Result<(), ModelError> {
    let directory = out_dir.join(model.module_name());
    let input = match network {
        Some(network) => write_fused(model, network, &directory)?,
        None => model.onnx_path(),
    };
    ModelError::catch_panic(&model.manifest.name, || {
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

/// Writes the fused network under the name of the model's own file, because burn-onnx names its output after its input.
fn write_fused(model: &Model, network: &Network, directory: &Path) -> Result<PathBuf, ModelError> {
    let path = directory.join("fused").join(&model.manifest.onnx);
    let unwritable = |e: std::io::Error| ModelError::Unreadable { path: path.clone(), reason: e.to_string() };
    std::fs::create_dir_all(directory.join("fused")).map_err(unwritable)?;
    fused_onnx::write(network, &path).map_err(unwritable)?;
    Ok(path)
}
