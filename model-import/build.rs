//! Turns every `models/<name>/model.toml` into Burn code, weights, a `SPEC` and `LABELS`.
//!
//! manifest -> sha256 -> graph check -> burn-onnx -> `models.rs`. Anything that does not fit stops the build
//! with a sentence that says what to do.

#[path = "build/emit.rs"]
mod emit;
#[path = "build/error.rs"]
mod error;
#[path = "build/graph.rs"]
mod graph;
#[path = "build/manifest.rs"]
mod manifest;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn_import::{LoadStrategy, ModelGen};

use error::Refusal;
use manifest::Model;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=models");
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
    let models = manifest::read_all(Path::new("models"))?;
    for model in &models {
        graph::check(model)?;
        generate(model, &out_dir)?;
    }
    emit::write(&models, &out_dir)
}

/// Runs burn-onnx, whose only way to refuse is a panic.
fn generate(model: &Model, out_dir: &Path) -> Result<(), Refusal> {
    let input = model.onnx_path();
    let directory = out_dir.join(model.module_name());
    std::panic::catch_unwind(|| {
        ModelGen::new()
            .input(&input.display().to_string())
            .out_dir(&directory.display().to_string())
            .load_strategy(LoadStrategy::None)
            .run_from_cli();
    })
    .map_err(|panic| Refusal::Import {
        model: model.manifest.name.clone(),
        reason: panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "burn-onnx gave no reason".to_string()),
    })
}
