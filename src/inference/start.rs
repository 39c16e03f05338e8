//! Brings an engine up: weights, choice of kernels, warm-up, canary. An engine that gets through this is ready.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_kernels::{Kernels, Layout};
use model_import::{LoadError, Network};

use super::burn_engine::BurnEngine;
use super::canary::{self, Canary};
use super::choice::{KernelChoice, ResizeChoice};
use super::device::{self, ChosenDevice};
use super::engine::{Engine, Logits};
use super::precision::{Precision, PrecisionError};
use crate::model::Model;

/// How an engine is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most pictures in a batch.
    pub max_batch_size: usize,
    /// What tensors hold.
    pub precision: Precision,
    /// Who computes.
    pub kernels: KernelChoice,
    /// Who resizes pictures.
    pub resize: ResizeChoice,
    /// The largest part of a picture that is kept for the device to resize.
    pub max_cutout_bytes: usize,
    /// Where a choice of kernels is kept.
    pub cache: Option<PathBuf>,
}

impl Options {
    /// As the model has it, by the quickest kernels, with nothing kept.
    pub fn new(max_batch_size: usize) -> Self {
        Self {
            max_batch_size,
            precision: Precision::F32,
            kernels: KernelChoice::Auto,
            resize: ResizeChoice::Auto,
            max_cutout_bytes: 1 << 20,
            cache: None,
        }
    }
}

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
fn load(model: &Model, device: &ChosenDevice) -> Result<Box<dyn Network>, LoadError> {
    model.built_in().load_with(&device.device, &model.weights())
}

/// The right logits of the canary: those that came with the weights, or else what the CPU computes. A CPU that has nobody to
/// compare itself with is compared with its own first answer.
fn known_logits(model: &Model, device: &ChosenDevice) -> Result<Option<Logits>, String> {
    if let Some(known) = model.golden() {
        return Ok(Some(known.into()));
    }
    if !device.is_gpu_runtime {
        return Ok(None);
    }
    on_cpu(model).map(Some).map_err(|e| e.to_string())
}

/// What the CPU computes of the canary in f32, whatever precision `config` asks for: servers are held to what the weights
/// themselves give. All CPU engines of the process multiply in f32 from then on, so it is for one that has none which should
/// not.
///
/// # Errors
///
/// The weights do not load, or the numbers are not finite.
pub fn by_cpu(model: &Model, config: &super::Config) -> Result<Logits, StartError> {
    let exact = super::Config { precision: Precision::F32, ..config.clone() };
    super::configure_cpu(&exact, &device::cpu("for the canary alone".to_string()))?;
    on_cpu(model)
}

fn on_cpu(model: &Model) -> Result<Logits, StartError> {
    let cpu = device::cpu("for the canary alone".to_string());
    let network: Arc<dyn Network> = load(model, &cpu)?.into();
    let mut engine = BurnEngine::new(model.clone(), &cpu, &Options::new(1), network, cpu.best_kernels(), None);
    let rows = engine.caught(|engine| engine.run(&[canary::picture(model)]));
    let logits = rows.map(|mut rows| rows.swap_remove(0)).map_err(|reason| no_start(model, &cpu, reason))?;
    // Nobody could be held to them.
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Err(no_start(model, &cpu, "the logits are not finite".to_string()));
    }
    Ok(logits)
}
