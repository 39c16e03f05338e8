//! Compares a model's answer to the canary with the right one, for who wants to see the difference rather than a refusal.

use super::burn_engine::BurnEngine;
use super::canary::Difference;
use super::device::ChosenDevice;
use super::options::Options;
use super::placement::Placement;
use super::start::{self, StartError, Step};
use crate::model::Model;

/// A model that ran on a device.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Where and how it ran.
    pub placement: Placement,
    /// What its answer was compared with.
    pub reference: Reference,
    /// How far it was off; nothing where there is nothing to compare with.
    pub difference: Option<Difference>,
}

/// Who says which logits are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Whoever made the model: they came with its weights.
    Known,
    /// This program's own CPU engine.
    Cpu,
    /// Nobody.
    None,
}

/// Runs `model` on `device` as a server would, and the canary through it.
///
/// # Errors
///
/// It does not run there at all. A wrong answer is no error here.
pub fn check(
    model: Model,
    device: &ChosenDevice,
    options: &Options,
    mut progress: impl FnMut(Step),
) -> Result<Checked, StartError> {
    let mut engine = start::warm(model.clone(), device, options, &mut progress)?;
    let reference = match (model.golden(), &engine.canary) {
        (Some(_), _) => Reference::Known,
        (None, Some(_)) => Reference::Cpu,
        (None, None) => Reference::None,
    };
    let difference =
        engine.caught(BurnEngine::canary_difference).map_err(|reason| start::no_start(&model, device, reason))?;
    Ok(Checked { placement: engine.placement(), reference, difference })
}
