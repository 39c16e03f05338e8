//! Brings up the device, and on it every model with its batcher.

use std::sync::Arc;

use crate::batching::{Batcher, Worker};
use crate::classifier::Classifier;
use crate::config::Config;
use crate::image::DecodePool;
use crate::inference::{BurnEngine, ChosenDevice, DeviceError, StartError, device};
use crate::model::Model;
use crate::readiness::Readiness;
use crate::telemetry::metrics;

/// Models that are up, and the threads behind them.
pub(super) struct Loaded {
    /// Name of the model of requests that name none.
    pub(super) default: String,
    pub(super) classifiers: Vec<Classifier>,
    pub(super) workers: Vec<Worker>,
}

/// Why the process cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The device is not to be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A model does not run on it.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// `--model` names no model of this program.
    #[error("there is no model '{name}' in this program; it has {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

/// Loads and warms up the models that `wanted` lets through. Blocks; call it off the async threads.
pub(super) fn engines(
    config: &Config,
    wanted: impl Fn(&Model) -> bool,
) -> Result<(ChosenDevice, Vec<(Model, BurnEngine)>), LoadError> {
    let device = device::choose(&config.inference.device)?;
    let info = &device.info;
    tracing::info!(device = %info.name, api = %info.api, driver = info.driver, reason = %device.reason, "device chosen");
    let mut engines = Vec::new();
    for model in Model::all().filter(wanted) {
        let name = model.spec().name;
        let engine = BurnEngine::start(model, &device, config.batching.max_batch_size, |batch_size, took| {
            tracing::info!(model = name, batch_size, took_ms = took.as_millis() as u64, "warmed up");
        })?;
        metrics::build_info(name, model.spec().version, &info.name, &info.api);
        engines.push((model, engine));
    }
    Ok((device, engines))
}

/// The model that `--model` names, or else the first.
pub(super) fn default_model(config: &Config) -> Result<String, LoadError> {
    let names: Vec<&str> = Model::all().map(|model| model.spec().name).collect();
    match &config.model {
        None => Ok(names[0].to_string()),
        Some(name) if names.contains(&name.as_str()) => Ok(name.clone()),
        Some(name) => Err(LoadError::UnknownModel { name: name.clone(), known: names.join(", ") }),
    }
}

/// Starts a batcher for each engine. Needs a tokio runtime.
pub(super) fn classifiers(
    config: &Config,
    default: String,
    device: &ChosenDevice,
    engines: Vec<(Model, BurnEngine)>,
    readiness: &Readiness,
) -> Loaded {
    let pool = DecodePool::new(config.decode_threads);
    let limits = Arc::new(config.image.clone());
    let mut loaded = Loaded { default, classifiers: Vec::new(), workers: Vec::new() };
    for (model, engine) in engines {
        let (batcher, worker) = Batcher::start(config.batching.clone(), Box::new(engine), readiness.clone());
        let info = device.info.clone();
        loaded.classifiers.push(Classifier::new(model, info, Arc::clone(&limits), pool.clone(), batcher));
        loaded.workers.push(worker);
    }
    loaded
}
