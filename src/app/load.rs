//! Brings up the devices, and on them every model with its batcher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinError;

use crate::batching::{Batcher, Worker};
use crate::classifier::{Answers, Classifier};
use crate::config::Config;
use crate::image::DecodePool;
use crate::inference::{
    self, BurnEngine, ChosenDevice, DeviceChoice, DeviceError, DeviceInfo, Options, Placement, PrecisionError,
    StartError, Step, configure_cpu, device, panic_message,
};
use crate::model::Model;
use crate::readiness::Readiness;
use crate::telemetry::metrics::{self, DeviceLabels, ModelMetrics};

/// Bytes that a full queue of pictures may take that a device is to resize.
const CUTOUTS_WAITING: usize = 256 << 20;

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
    /// One device under two names.
    #[error("--device names {0} twice. 'kiln devices' lists what there is.")]
    Twice(String),
    /// It does not compute as was asked.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// A model does not run on it.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// A driver or a device runtime panicked.
    #[error(
        "the device runtime panicked while the models were loaded: {0}. Try another --device; 'kiln devices' lists them."
    )]
    Panicked(String),
}

/// Each model with its engines, one on each device.
pub(super) type Engines = Vec<(Model, Vec<BurnEngine>)>;

/// Has compiled kernels kept from one start to the next. To be called while the process has one thread.
pub fn keep_caches(config: &Config) {
    if let Some(folder) = &config.inference.cache {
        inference::keep_caches(folder);
    }
}

/// Loads and warms up the models that `wanted` lets through, off the async threads.
pub(super) async fn engines(
    config: &Config,
    wanted: impl Fn(&Model) -> bool + Send + 'static,
) -> Result<Engines, LoadError> {
    let config = config.clone();
    joined(tokio::task::spawn_blocking(move || load(&config, wanted)).await)
}

/// What a loading thread came to. Drivers and device runtimes panic where they should return.
pub(super) fn joined<T>(end: Result<Result<T, LoadError>, JoinError>) -> Result<T, LoadError> {
    end.unwrap_or_else(|error| {
        let panic = error.try_into_panic();
        Err(LoadError::Panicked(panic.map_or_else(|_| "it was cancelled".to_string(), |panic| panic_message(&*panic))))
    })
}

fn load(config: &Config, wanted: impl Fn(&Model) -> bool) -> Result<Engines, LoadError> {
    let started = Instant::now();
    let devices = config.inference.device.all().iter().map(|choice| open(config, choice));
    let devices = devices.collect::<Result<Vec<_>, _>>()?;
    for (index, device) in devices.iter().enumerate() {
        if devices[..index].iter().any(|other| other.is_same_as(device)) {
            return Err(LoadError::Twice(device.info.name.clone()));
        }
    }
    metrics::startup("device", started.elapsed());
    let mut engines = Vec::new();
    for model in Model::all().filter(wanted) {
        let those = devices.iter().map(|device| start(config, model, device)).collect::<Result<Vec<_>, _>>()?;
        metrics::build_info(model.spec().name, model.spec().version);
        engines.push((model, those));
    }
    metrics::startup("total", started.elapsed());
    Ok(engines)
}

/// One device.
pub(super) fn open(config: &Config, choice: &DeviceChoice) -> Result<ChosenDevice, LoadError> {
    let device = device::choose(choice)?;
    let DeviceInfo { name, api, driver, compiler } = &device.info;
    tracing::info!(device = %name, %api, driver, compiler, reason = %device.reason, "device chosen");
    configure_cpu(&config.inference, &device)?;
    Ok(device)
}

fn start(config: &Config, model: Model, device: &ChosenDevice) -> Result<BurnEngine, LoadError> {
    let options = options(config);
    let name = model.spec().name;
    let engine = BurnEngine::start(model, device, &options, |step| tell(name, step))?;
    let Placement { device, precision, kernels } = engine.placement();
    tracing::info!(model = name, device = %device.name, %precision, %kernels, "engine started");
    metrics::device_info(DeviceLabels {
        model: name.to_string(),
        device: device.name,
        api: device.api,
        driver: device.driver.unwrap_or_default(),
        compiler: device.compiler.to_string(),
        precision,
        kernels,
    });
    Ok(engine)
}

/// How an engine is to run.
pub(super) fn options(config: &Config) -> Options {
    let inference::Config { precision, kernels, resize, cache, .. } = config.inference.clone();
    let max_cutout_bytes = CUTOUTS_WAITING / config.batching.queue_capacity;
    Options { max_batch_size: config.batching.max_batch_size, precision, kernels, resize, max_cutout_bytes, cache }
}

/// What a start is doing, for who waits for it, and what its phases took.
fn tell(model: &str, step: Step) {
    let ms = |took: Duration| took.as_millis() as u64;
    match step {
        Step::Loaded(took) => metrics::startup("load", took),
        Step::WarmingUp(batch_size) => tracing::info!(model, batch_size, "compiling kernels and warming up"),
        Step::WarmedUp(batch_size, took) => {
            metrics::startup("warm_up", took);
            tracing::info!(model, batch_size, took_ms = ms(took), "warmed up");
        }
        Step::Measured { fused, stock, took } => {
            metrics::startup("measure", took);
            tracing::info!(model, fused_ms = ms(fused), stock_ms = ms(stock), took_ms = ms(took), "kernels measured");
        }
        Step::Checked(took) => metrics::startup("canary", took),
    }
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

/// Starts a batcher for each model. Needs a tokio runtime.
pub(super) fn classifiers(config: &Config, default: String, models: Engines, readiness: &Readiness) -> Loaded {
    let pool = DecodePool::new(config.decode_threads);
    let limits = Arc::new(config.image.clone());
    let answers = (config.cache_bytes > 0).then(|| Answers::new(config.cache_bytes));
    let mut loaded = Loaded { default, classifiers: Vec::new(), workers: Vec::new() };
    for (model, engines) in models {
        let placements = engines.iter().map(BurnEngine::placement).collect();
        // All of them, or the batcher could not give any picture to any engine.
        let largest =
            engines.iter().map(BurnEngine::largest_cutout).reduce(|one, other| one.zip(other).map(|(a, b)| a.min(b)));
        let engines = engines.into_iter().flat_map(BurnEngine::workers).collect();
        let metrics = ModelMetrics::new(model.spec().name, model.spec().version);
        let (batcher, worker) = Batcher::start(config.batching.clone(), engines, readiness.clone(), metrics);
        let mut classifier = Classifier::new(model, placements, Arc::clone(&limits), pool.clone(), batcher);
        if let Some(bytes) = largest.flatten() {
            classifier = classifier.resizing(bytes);
        }
        if let Some(answers) = &answers {
            classifier = classifier.keeping(answers.clone());
        }
        loaded.classifiers.push(classifier);
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
        let sentence = joined::<()>(end).unwrap_err().to_string();
        assert!(sentence.contains("no such driver") && sentence.contains("Try another --device"), "{sentence}");
    }
}
