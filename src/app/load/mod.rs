//! Opens the devices, loads models on them, and gives each model a classifier with its own queue.

mod error;
mod models;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_classifier::batching::{self, Batcher, SpawnThread, Worker};
use kiln_classifier::{Classifier, ResponseCache};
use kiln_feedback::{FeedbackStore, ModelIdentity};
use kiln_image::{DecodePool, Limits};
use kiln_inference::model::{Model, Task};
use kiln_inference::{
    self as inference, BurnEngine, ChosenDevice, DeviceAssignment, DeviceChoice, DeviceInfo, Options, Step,
    configure_cpu, device, panic_message,
};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::{self, DeviceLabels, ModelMetrics};
use tokio::task::JoinError;

use crate::config::Config;
use crate::model_store::ModelStore;
pub use error::{LoadError, NoStore};
pub(super) use models::{
    built_in_beside, default_model, empty_store, log_opened, models, selected_model, selected_models, stable_version,
    unusable_stable_version,
};

/// Returns the path of the operation that takes an image as the body of a request.
pub(super) fn raw_path(task: Task) -> &'static str {
    match task {
        Task::SingleLabel | Task::MultiLabel => "/predict/raw",
        Task::Embedding => "/embed/raw",
    }
}

/// Maximum size of all image regions in the queue that wait for a resize on the device, in bytes.
const MAX_QUEUED_CROP_BYTES: usize = 256 << 20;

/// Opens the configured model store.
pub(super) fn store(config: &Config) -> Result<ModelStore, NoStore> {
    config.model_store.as_ref().map(ModelStore::open).ok_or(NoStore)
}

/// Configures drivers to cache compiled kernels from one start to the next. Has an effect only while the process has
/// one thread.
pub fn keep_caches(config: &Config) {
    if let Some(folder) = &config.inference.cache {
        inference::set_cache_folder(folder);
    }
}

/// Returns the result of a blocking task. A panic becomes an error, since drivers and device runtimes panic where they
/// should return an error.
pub(super) fn join<T>(joined: Result<Result<T, LoadError>, JoinError>) -> Result<T, LoadError> {
    joined.unwrap_or_else(|error| {
        let panic = error.try_into_panic();
        Err(LoadError::Panicked(panic.map_or_else(|_| "it was cancelled".to_string(), |panic| panic_message(&*panic))))
    })
}

/// Loads and warms up the selected model on each device, on a blocking thread.
pub(super) async fn start_engines(config: &Config) -> Result<(Model, Vec<BurnEngine>), LoadError> {
    let config = config.clone();
    let load = move || {
        let (model, options) = (selected_model(&config)?, engine_options(&config));
        let devices = open_devices(&config)?;
        let engines = devices.iter().map(|device| start_engine(&options, &model, device, &|_| ()));
        let engines = engines.collect::<Result<_, _>>()?;
        Ok((model, engines))
    };
    join(tokio::task::spawn_blocking(load).await)
}

/// Builds the classifier of a command that runs one model. Needs a tokio runtime.
pub(super) fn classifier(
    config: &Config,
    model: Model,
    engines: Vec<BurnEngine>,
    readiness: Readiness,
) -> Result<(Classifier, Worker), LoadError> {
    let metrics = ModelMetrics::new(model.name(), model.version());
    SharedResources::new(config, None)?.build_classifier(model, engines, readiness, metrics)
}

/// The open devices and the resources that all classifiers share. Clones are cheap and share them.
#[derive(Clone)]
pub(super) struct ModelLoader {
    options: Options,
    devices: Arc<[ChosenDevice]>,
    pub(super) resources: SharedResources,
}

impl ModelLoader {
    /// Opens the devices. If `feedback` is given, the classifiers record predictions there. Blocks for a while.
    pub(super) fn open(config: &Config, feedback: Option<FeedbackStore>) -> Result<Self, LoadError> {
        let started = Instant::now();
        let devices = open_devices(config)?;
        metrics::startup_phase("device", started.elapsed());
        let resources = SharedResources::new(config, feedback)?;
        Ok(Self { options: engine_options(config), devices: devices.into(), resources })
    }

    /// Loads and warms up a version of a model on each device. Blocks for a while.
    pub(super) fn start_engines(&self, model: &Model, progress: &dyn Fn(Step)) -> Result<Vec<BurnEngine>, LoadError> {
        self.devices.iter().map(|device| start_engine(&self.options, model, &device.latest(), progress)).collect()
    }

    /// Returns unused device memory to the drivers.
    pub(super) fn free_unused(&self) {
        self.devices.iter().for_each(|device| device.latest().free_unused());
    }
}

/// Opens every device of `--device`. Blocks for a while.
pub(super) fn open_devices(config: &Config) -> Result<Vec<ChosenDevice>, LoadError> {
    let devices = config.inference.device.all().iter().map(|choice| open_device(config, choice));
    let devices = devices.collect::<Result<Vec<_>, _>>()?;
    check_distinct(&devices)?;
    Ok(devices)
}

/// Checks that no two names of `--device` mean the same hardware.
pub(super) fn check_distinct(devices: &[ChosenDevice]) -> Result<(), LoadError> {
    let is_repeated =
        |(index, device): &(usize, &ChosenDevice)| devices[..*index].iter().any(|other| other.is_same_as(device));
    match devices.iter().enumerate().find(is_repeated) {
        Some((_, device)) => Err(LoadError::Twice(device.info.name.clone())),
        None => Ok(()),
    }
}

/// Opens one device. Blocks for a while.
pub(super) fn open_device(config: &Config, choice: &DeviceChoice) -> Result<ChosenDevice, LoadError> {
    let device = device::choose(choice)?;
    let DeviceInfo { name, api, driver, compiler } = &device.info;
    tracing::info!(device = %name, %api, driver, compiler, reason = %device.reason, "device chosen");
    Ok(configure_cpu(&config.inference, device)?)
}

/// Returns the options of every engine.
pub(super) fn engine_options(config: &Config) -> Options {
    let inference::Config { precision, kernels, resize, cache, .. } = config.inference.clone();
    let max_crop_bytes = MAX_QUEUED_CROP_BYTES / config.batching.queue_capacity;
    Options { max_batch_size: config.batching.max_batch_size, precision, kernels, resize, max_crop_bytes, cache }
}

/// Loads and warms up a version of a model on one device.
fn start_engine(
    options: &Options,
    model: &Model,
    device: &ChosenDevice,
    progress: &dyn Fn(Step),
) -> Result<BurnEngine, LoadError> {
    let name = model.name();
    let engine = BurnEngine::start(model.clone(), device, options, |step| {
        log_step(name, step);
        progress(step);
    })?;
    let DeviceAssignment { device, precision, kernels } = engine.assignment();
    tracing::info!(model = name, version = model.version(), device = %device.name, %precision, %kernels, "engine started");
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

fn log_step(model: &str, step: Step) {
    let ms = |took: Duration| took.as_millis() as u64;
    match step {
        Step::WarmingUp(batch_size) => tracing::info!(model, batch_size, "compiling kernels and warming up"),
        Step::WarmedUp(batch_size, took) => tracing::info!(model, batch_size, took_ms = ms(took), "warmed up"),
        Step::Measured { fused, stock, took } => {
            tracing::info!(model, fused_ms = ms(fused), stock_ms = ms(stock), took_ms = ms(took), "kernels measured");
        }
        Step::Loaded(_) | Step::Checked(_) => {}
    }
}

/// Records the duration of a phase of the start.
pub(super) fn record_startup_phase(step: Step) {
    match step {
        Step::Loaded(took) => metrics::startup_phase("load", took),
        Step::WarmedUp(_, took) => metrics::startup_phase("warm_up", took),
        Step::Measured { took, .. } => metrics::startup_phase("measure", took),
        Step::Checked(took) => metrics::startup_phase("self_test", took),
        Step::WarmingUp(_) => {}
    }
}

/// The resources that all classifiers of a process share: decode threads, image limits, response cache, feedback store.
/// Clones are cheap and share them.
#[derive(Clone)]
pub(super) struct SharedResources {
    batching: batching::Config,
    /// Creates the threads of the engines. Tests replace it.
    pub(in crate::app) spawn: SpawnThread,
    pool: DecodePool,
    limits: Arc<Limits>,
    responses: Option<ResponseCache>,
    feedback: Option<FeedbackStore>,
}

impl SharedResources {
    fn new(config: &Config, feedback: Option<FeedbackStore>) -> Result<Self, LoadError> {
        let cache_bytes = config.response_cache_bytes;
        Ok(Self {
            batching: config.batching.clone(),
            spawn: batching::os_thread,
            pool: DecodePool::new(config.decode_threads)?,
            limits: Arc::new(config.image.clone()),
            responses: (cache_bytes > 0).then(|| ResponseCache::new(cache_bytes)),
            feedback,
        })
    }

    /// Builds the classifier of a model: starts a batcher on its engines. Needs a tokio runtime.
    pub(super) fn build_classifier(
        &self,
        model: Model,
        engines: Vec<BurnEngine>,
        readiness: Readiness,
        metrics: ModelMetrics,
    ) -> Result<(Classifier, Worker), LoadError> {
        let placements = engines.iter().map(BurnEngine::assignment).collect();
        // The minimum of all engines, since the batcher gives any image to any engine.
        let max_crop_bytes =
            engines.iter().map(BurnEngine::max_crop_bytes).reduce(|one, other| one.zip(other).map(|(a, b)| a.min(b)));
        let engines = engines.into_iter().flat_map(BurnEngine::into_engines).collect();
        let (batcher, worker) = Batcher::start_on(self.spawn, self.batching.clone(), engines, readiness, metrics)?;
        let (limits, pool) = (Arc::clone(&self.limits), self.pool.clone());
        let mut classifier = Classifier::new(model, placements, limits, pool, batcher);
        if let Some(bytes) = max_crop_bytes.flatten() {
            classifier = classifier.with_engine_resize(bytes);
        }
        if let Some(responses) = &self.responses {
            classifier = classifier.with_cache(responses.clone());
        }
        if let Some(feedback) = &self.feedback {
            let (model, spec) = (classifier.model(), classifier.model().spec());
            let labels = spec.labels.iter().map(ToString::to_string).collect();
            let recorder = feedback.recorder(ModelIdentity::new(&spec.name, model.version(), &model.digest(), labels));
            classifier = classifier.with_recorder(recorder);
        }
        Ok((classifier, worker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn driver_panic_becomes_an_error_with_its_message() {
        let end = tokio::task::spawn_blocking(|| panic!("no such {}", "driver")).await;
        let message = join::<()>(end).unwrap_err().to_string();
        assert!(message.contains("no such driver") && message.contains("Try another --device"), "{message}");
    }
}
