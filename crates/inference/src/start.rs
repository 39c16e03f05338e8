//! Brings an engine up: weights, choice of kernels, warm-up, canary. An engine that gets through this is ready.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_kernels::{Kernels, Layout};
use model_import::{LoadError, Network};

use super::burn_engine::BurnEngine;
use super::canary::Canary;
use super::choice::{KernelChoice, ResizeChoice};
use super::device::ChosenDevice;
use super::known::known_logits;
use super::options::Options;
use super::precision::{Precision, PrecisionError};
use crate::model::Model;

/// A step on the way, as it begins or when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The weights are on the device.
    Loaded(Duration),
    /// Kernels are compiled, where the device does that, and a batch of this size is run.
    WarmingUp(usize),
    /// It was.
    WarmedUp(usize, Duration),
    /// Both kinds of kernels ran the same batch, in the first case and in the second.
    Measured {
        /// Kiln's own.
        fused: Duration,
        /// Burn's.
        stock: Duration,
        /// What measuring took in all.
        took: Duration,
    },
    /// The canary was answered rightly.
    Checked(Duration),
}

/// Why an engine does not start. The process must not either.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The weights do not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The precision is not to be had for this model.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// The fused kernels are not to be had.
    #[error(
        "--kernels fused is not to be had on {device}, whose kernels are compiled by {compiler}. Leave it at auto, or use \
         a build without the features 'vulkan' and 'metal'."
    )]
    NoFused {
        /// The device's name.
        device: String,
        /// Its compiler.
        compiler: &'static str,
    },
    /// The CPU has no device to resize on.
    #[error("--resize gpu is for GPUs, but the device is {device}. Leave it at auto.")]
    NoResize {
        /// The device's name.
        device: String,
    },
    /// The device cannot run the model.
    #[error(
        "model '{model}' does not run on {device}: {reason}. Try a smaller --max-batch-size, or another --device; 'kiln devices' lists \
        them."
    )]
    WarmUp {
        /// The model's name.
        model: &'static str,
        /// The device's name.
        device: String,
        /// What the device said.
        reason: String,
    },
    /// It runs, but the numbers are wrong.
    #[error(
        "model '{model}' gives wrong numbers on {device}: {reason}. Try another --device; if it is so on each of them, the weights \
         are not those that the known logits belong to."
    )]
    Canary {
        /// The model's name.
        model: &'static str,
        /// The device's name.
        device: String,
        /// How wrong they are.
        reason: String,
    },
}

/// Puts `model` on `device`, runs every batch size that needs it once, so that no request pays for first-use work, and makes
/// sure that it computes rightly.
pub(super) fn start(
    model: Model,
    device: &ChosenDevice,
    options: &Options,
    progress: &mut dyn FnMut(Step),
) -> Result<BurnEngine, StartError> {
    let mut engine = warm(model.clone(), device, options, progress)?;
    let started = Instant::now();
    let wrong = |reason| StartError::Canary { model: model.spec().name, device: device.info.name.clone(), reason };
    engine.caught(BurnEngine::check_canary).map_err(wrong)?;
    progress(Step::Checked(started.elapsed()));
    Ok(engine)
}

/// The device cannot run the model.
pub(super) fn no_start(model: &Model, device: &ChosenDevice, reason: String) -> StartError {
    StartError::WarmUp { model: model.spec().name, device: device.info.name.clone(), reason }
}

/// An engine that has run, and whose answers nobody has looked at yet.
pub(super) fn warm(
    model: Model,
    device: &ChosenDevice,
    options: &Options,
    progress: &mut dyn FnMut(Step),
) -> Result<BurnEngine, StartError> {
    let refuse = |reason: String| no_start(&model, device, reason);
    if options.resize == ResizeChoice::Gpu && !device.is_gpu_runtime {
        return Err(StartError::NoResize { device: device.info.name.clone() });
    }
    let known = known_logits(&model, device).map_err(refuse)?;
    let started = Instant::now();
    let network: Arc<dyn Network> = load(&model, device)?.into();
    progress(Step::Loaded(started.elapsed()));
    let is_fused = network.layout() == Layout::ChannelsLast;
    if options.precision == Precision::F16 && !is_fused {
        return Err(PrecisionError::NotFused { model: model.spec().name }.into());
    }
    let best = device.best_kernels();
    let kernels = match (options.kernels, best) {
        (KernelChoice::Fused, Kernels::Stock) => {
            return Err(StartError::NoFused { device: device.info.name.clone(), compiler: device.info.compiler });
        }
        (KernelChoice::Stock, _) => Kernels::Stock,
        (KernelChoice::Auto | KernelChoice::Fused, best) => best,
    };
    let canary = known.map(|known| Arc::new(Canary::new(&model, known, options.precision)));
    let mut engine = BurnEngine::new(model.clone(), device, options, network, kernels, canary);
    let is_open =
        options.kernels == KernelChoice::Auto && kernels != Kernels::Stock && device.is_gpu_runtime && is_fused;
    let known = if is_open { engine.remembered().fused_is_quicker() } else { None };
    if known == Some(false) {
        engine.use_stock();
    }
    engine.warm_up(progress).map_err(refuse)?;
    if is_open && known.is_none() {
        engine.choose_kernels(progress).map_err(refuse)?;
    }
    Ok(engine)
}

/// The network with the weights that the model has.
pub(super) fn load(model: &Model, device: &ChosenDevice) -> Result<Box<dyn Network>, LoadError> {
    model.built_in().load_with(&device.device, &model.weights())
}
