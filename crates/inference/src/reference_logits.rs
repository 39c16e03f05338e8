//! The source of reference logits for the self-test: they come with the weights, or the CPU computes them.

use std::sync::Arc;

use kiln_kernels::cpu::Isa;
use model_import::Network;

use super::Config;
use super::burn_engine::{BurnEngine, load_network};
use super::cpu::configure_cpu;
use super::device::{self, ChosenDevice};
use super::engine::{Engine, Logits};
use super::error::StartError;
use super::options::{Options, Precision};
use super::self_test::synthetic_image;
use crate::model::Model;

/// Returns the reference logits for a self-test on `device`: those that came with the weights, or else those that the CPU
/// computes. `None` on a CPU without logits from the weights: there the first result of the engine becomes the reference.
pub(super) fn reference_logits(model: &Model, device: &ChosenDevice) -> Result<Option<Logits>, String> {
    if let Some(logits) = model.reference_logits() {
        return Ok(Some(logits.into()));
    }
    if !device.is_gpu_runtime {
        return Ok(None);
    }
    let cpu = cpu().with_cpu_context(device.cpu.with_isa(Isa::best()));
    compute_on_cpu(model, &cpu).map(Some).map_err(|e| e.to_string())
}

/// Computes the logits of the synthetic image on the CPU, in f32, whatever precision `config` sets: self-tests compare with
/// the exact result of the weights.
///
/// # Errors
///
/// The weights do not load, or the logits are not finite.
pub fn reference_logits_on_cpu(model: &Model, config: &Config) -> Result<Logits, StartError> {
    let exact = Config { precision: Precision::F32, ..config.clone() };
    compute_on_cpu(model, &configure_cpu(&exact, cpu())?)
}

fn compute_on_cpu(model: &Model, cpu: &ChosenDevice) -> Result<Logits, StartError> {
    let network: Arc<dyn Network> = load_network(model, cpu)?.into();
    let mut engine = BurnEngine::new(model.clone(), cpu, &Options::new(1), network, cpu.best_kernels(), None);
    let rows = engine.catch_panic(|engine| engine.run(&[synthetic_image(model)]));
    let logits = rows.map(|mut rows| rows.swap_remove(0)).map_err(|reason| StartError::warm_up(model, cpu, reason))?;
    // Such logits cannot serve as a reference.
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Err(StartError::warm_up(model, cpu, "the logits are not finite".to_string()));
    }
    Ok(logits)
}

fn cpu() -> ChosenDevice {
    device::cpu("for reference logits".to_string())
}
