//! Brings up the device, and on it every model with its batcher.

use std::sync::Arc;

use tokio::task::JoinError;

use crate::batching::{Batcher, Worker};
use crate::classifier::Classifier;
use crate::config::Config;
use crate::image::DecodePool;
use crate::inference::{
    BurnEngine, ChosenDevice, CpuError, DeviceError, StartError, configure_cpu, device, panic_message,
};
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
    /// It does not compute as was asked.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A model does not run on it.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// A driver or a device runtime panicked.
    #[error(
        "the device runtime panicked while the models were loaded: {0}. Try another --device; 'kiln devices' lists them."
    )]
    Panicked(String),
}

/// A device and the engines on it.
pub(super) type Engines = (ChosenDevice, Vec<(Model, BurnEngine)>);

/// Loads and warms up the models that `wanted` lets through, off the async threads.
pub(super) async fn engines(
    config: &Config,
    wanted: impl Fn(&Model) -> bool + Send + 'static,
) -> Result<Engines, LoadError> {
    let config = config.clone();
    joined(tokio::task::spawn_blocking(move || load(&config, wanted)).await)
}

/// What a loading thread came to. Drivers and device runtimes panic where they should return.
fn joined(end: Result<Result<Engines, LoadError>, JoinError>) -> Result<Engines, LoadError> {
    end.unwrap_or_else(|error| {
        let panic = error.try_into_panic();
        Err(LoadError::Panicked(panic.map_or_else(|_| "it was cancelled".to_string(), |panic| panic_message(&*panic))))
    })
}

fn load(config: &Config, wanted: impl Fn(&Model) -> bool) -> Result<Engines, LoadError> {
    let device = device::choose(&config.inference.device)?;
    let info = &device.info;
    tracing::info!(device = %info.name, api = %info.api, driver = info.driver, reason = %device.reason, "device chosen");
    configure_cpu(&config.inference, &device)?;
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

/// The model that `--model` names, or else the first by name, which the log tells where there is a choice.
pub(super) fn default_model(config: &Config) -> String {
    let name = config.model.clone().unwrap_or_else(|| {
        let first = Model::all().next().expect("the build refuses a program without models");
        first.spec().name.to_string()
    });
    if config.model.is_none() && Model::all().count() > 1 {
        tracing::info!(model = %name, "requests that name no model go to the first by name; --model chooses another");
    }
    name
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
        let (batcher, worker) = Batcher::start(config.batching.clone(), engine.workers(), readiness.clone());
        let info = device.info.clone();
        loaded.classifiers.push(Classifier::new(model, info, Arc::clone(&limits), pool.clone(), batcher));
        loaded.workers.push(worker);
    }
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_driver_that_panics_is_an_error_with_its_words() {
        let end = tokio::task::spawn_blocking(|| panic!("no such {}", "driver")).await;
        let sentence = joined(end).unwrap_err().to_string();
        assert!(sentence.contains("no such driver") && sentence.contains("Try another --device"), "{sentence}");
    }
}
