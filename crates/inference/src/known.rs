//! Who says which logits of the canary are right: whoever made the weights, or else the CPU.

use std::sync::Arc;

use kiln_kernels::cpu::Isa;
use model_import::Network;

use super::Config;
use super::burn_engine::BurnEngine;
use super::canary;
use super::cpu::configure_cpu;
use super::device::{self, ChosenDevice};
use super::engine::{Engine, Logits};
use super::options::Options;
use super::precision::Precision;
use super::start::{self, StartError};
use crate::model::Model;

/// The right logits of the canary: those that came with the weights, or else what the CPU computes. A CPU that has nobody to
/// compare itself with is compared with its own first answer.
pub(super) fn known_logits(model: &Model, device: &ChosenDevice) -> Result<Option<Logits>, String> {
    if let Some(known) = model.golden() {
        return Ok(Some(known.into()));
    }
    if !device.is_gpu_runtime {
        return Ok(None);
    }
    let cpu = device::cpu("for the canary alone".to_string()).with_cpu_context(device.cpu.with_isa(Isa::best()));
    on_cpu(model, &cpu).map(Some).map_err(|e| e.to_string())
}

/// What the CPU computes of the canary in f32, whatever precision `config` asks for: servers are held to what the weights
/// themselves give.
///
/// # Errors
///
/// The weights do not load, or the numbers are not finite.
pub fn by_cpu(model: &Model, config: &Config) -> Result<Logits, StartError> {
    let exact = Config { precision: Precision::F32, ..config.clone() };
    on_cpu(model, &configure_cpu(&exact, device::cpu("for the canary alone".to_string()))?)
}

fn on_cpu(model: &Model, cpu: &ChosenDevice) -> Result<Logits, StartError> {
    let network: Arc<dyn Network> = start::load(model, cpu)?.into();
    let mut engine = BurnEngine::new(model.clone(), cpu, &Options::new(1), network, cpu.best_kernels(), None);
    let rows = engine.caught(|engine| engine.run(&[canary::picture(model)]));
    let logits = rows.map(|mut rows| rows.swap_remove(0)).map_err(|reason| start::no_start(model, cpu, reason))?;
    // Nobody could be held to them.
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Err(start::no_start(model, cpu, "the logits are not finite".to_string()));
    }
    Ok(logits)
}
