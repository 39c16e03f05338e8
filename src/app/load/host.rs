//! What every version of every model runs on, and how one is brought up there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::LoadError;
use super::shared::Shared;
use crate::config::Config;
use kiln_feedback as feedback;
use kiln_inference::model::Model;
use kiln_inference::{
    self, BurnEngine, ChosenDevice, DeviceChoice, DeviceInfo, Options, Placement, Step, configure_cpu, device,
};
use kiln_runtime::telemetry::metrics::{self, DeviceLabels};

/// Bytes that a full queue of pictures may take that a device is to resize.
const CUTOUTS_WAITING: usize = 256 << 20;

/// Devices and what is shared on the host. Cheap to clone; clones share them.
#[derive(Clone)]
pub(in crate::app) struct Host {
    options: Options,
    devices: Arc<[ChosenDevice]>,
    pub(in crate::app) shared: Shared,
}

impl Host {
    /// Opens the devices. Predictions go to `recorded`, if there is such a place. Takes a while, and needs no async thread.
    pub(in crate::app) fn open(config: &Config, recorded: Option<feedback::FeedbackStore>) -> Result<Self, LoadError> {
        let started = Instant::now();
        let devices = devices(config)?;
        metrics::startup_phase("device", started.elapsed());
        Ok(Self { options: options(config), devices: devices.into(), shared: Shared::new(config, recorded) })
    }

    /// Loads and warms up a version of a model on each device. Takes a while, and needs no async thread.
    pub(in crate::app) fn engines(&self, model: &Model, progress: &dyn Fn(Step)) -> Result<Vec<BurnEngine>, LoadError> {
        self.devices.iter().map(|device| start(&self.options, model, &device.latest(), progress)).collect()
    }

    /// Has the devices give back what memory nobody uses any more.
    pub(in crate::app) fn free_unused(&self) {
        self.devices.iter().for_each(|device| device.latest().free_unused());
    }
}

/// All devices that were asked for, each once. Takes a while, and needs no async thread.
pub(in crate::app) fn devices(config: &Config) -> Result<Vec<ChosenDevice>, LoadError> {
    let devices = config.inference.device.all().iter().map(|choice| open(config, choice));
    let devices = devices.collect::<Result<Vec<_>, _>>()?;
    for (index, device) in devices.iter().enumerate() {
        if devices[..index].iter().any(|other| other.is_same_as(device)) {
            return Err(LoadError::Twice(device.info.name.clone()));
        }
    }
    Ok(devices)
}

/// One device.
pub(in crate::app) fn open(config: &Config, choice: &DeviceChoice) -> Result<ChosenDevice, LoadError> {
    let device = device::choose(choice)?;
    let DeviceInfo { name, api, driver, compiler } = &device.info;
    tracing::info!(device = %name, %api, driver, compiler, reason = %device.reason, "device chosen");
    configure_cpu(&config.inference, &device)?;
    Ok(device)
}

/// Loads and warms up a version of a model on a device.
pub(super) fn start(
    options: &Options,
    model: &Model,
    device: &ChosenDevice,
    progress: &dyn Fn(Step),
) -> Result<BurnEngine, LoadError> {
    let name = model.spec().name;
    let engine = BurnEngine::start(model.clone(), device, options, |step| {
        log(name, step);
        progress(step);
    })?;
    let Placement { device, precision, kernels } = engine.placement();
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

/// How an engine is to run.
pub(in crate::app) fn options(config: &Config) -> Options {
    let kiln_inference::Config { precision, kernels, resize, cache, .. } = config.inference.clone();
    let max_cutout_bytes = CUTOUTS_WAITING / config.batching.queue_capacity;
    Options { max_batch_size: config.batching.max_batch_size, precision, kernels, resize, max_cutout_bytes, cache }
}

/// What a start is doing, for who waits for it.
fn log(model: &str, step: Step) {
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

/// What the phases of a start took.
pub(in crate::app) fn measure(step: Step) {
    match step {
        Step::Loaded(took) => metrics::startup_phase("load", took),
        Step::WarmedUp(_, took) => metrics::startup_phase("warm_up", took),
        Step::Measured { took, .. } => metrics::startup_phase("measure", took),
        Step::Checked(took) => metrics::startup_phase("self_test", took),
        Step::WarmingUp(_) => {}
    }
}
