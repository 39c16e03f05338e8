//! `kiln bench`: measures the same images on each device, first with the engine alone and then with the whole server.

mod engine;
mod images;
mod server;

use std::path::Path;
use std::time::{Instant, SystemTime};

use indicatif::ProgressBar;
use kiln_inference::model::Model;
use kiln_inference::{BurnEngine, DeviceAssignment, DeviceChoice, Step};
use kiln_runtime::telemetry::logging::LoggingError;

use super::load::{self, LoadError};
use super::progress;
use super::start::init_logging;
use crate::bench::{DeviceReport, Model as ModelReport, Plan, Report};
use crate::config::Config;
use images::Images;
use server::BenchServer;

/// The error of [`bench()`].
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Logging cannot start.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// A device or the model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There are no usable images.
    #[error("{0}")]
    Images(String),
    /// A measurement failed.
    #[error("the measurement of {device} failed: {reason}")]
    Failed {
        /// The device, as `--device` names it.
        device: String,
        /// The error of the measurement.
        reason: String,
    },
    /// A file of the report cannot be written.
    #[error("cannot write {path}: {error}")]
    Output {
        /// The file.
        path: String,
        /// The error of the operating system.
        error: std::io::Error,
    },
}

/// Measures each device and writes `report.json`, `report.csv` and `report.html`. Returns the table for the terminal. If
/// `--model-file` names several models, each has its reports in a folder with its name.
///
/// # Errors
///
/// Returns an error if a device is not available, a measurement fails, or the report cannot be written. The folder of
/// `--out` is created first, so that no measurement is lost because of it.
pub async fn bench(mut config: Config, plan: Plan) -> Result<String, BenchError> {
    let _log_guard = init_logging(&config)?;
    std::fs::create_dir_all(&plan.out).map_err(|error| output(&plan.out, error))?;
    let models = load::selected_models(&config)?;
    config.batching.max_batch_size = plan.batch_sizes.iter().copied().max().unwrap_or(1);
    let max_concurrency = plan.concurrencies.iter().copied().max().unwrap_or(1);
    config.batching.queue_capacity = config.batching.queue_capacity.max(max_concurrency);
    if let [only] = &models[..] {
        return bench_model(config, &plan, only, true).await;
    }
    let mut text = String::new();
    for (index, model) in models.iter().enumerate() {
        let plan = Plan { out: plan.out.join(model.name()), ..plan.clone() };
        std::fs::create_dir_all(&plan.out).map_err(|error| output(&plan.out, error))?;
        let table = bench_model(config.clone(), &plan, model, index == 0).await?;
        text.push_str(&format!("{}\n\n{table}\n", model.name()));
    }
    Ok(text)
}

/// Measures one model. The memory of the process is meaningful only for the first model.
async fn bench_model(mut config: Config, plan: &Plan, model: &Model, is_first: bool) -> Result<String, BenchError> {
    let images = Images::load(plan.images.as_deref(), model, &config.image).map_err(BenchError::Images)?;
    let largest = images.files.iter().map(bytes::Bytes::len).max().unwrap_or(0);
    config.api.max_body_bytes = config.api.max_body_bytes.max(largest);
    let steps = (plan.batch_sizes.len() + plan.concurrencies.len()) * config.inference.device.all().len();
    let bar = progress::self_updating(progress::bar(steps, "{spinner} {bar:30} {pos}/{len} {elapsed} {msg}"));
    let created = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut report = Report {
        created,
        kiln: env!("CARGO_PKG_VERSION").to_string(),
        machine: engine::machine(),
        model: ModelReport {
            name: model.name().to_string(),
            version: model.version().to_string(),
            digest: model.digest(),
        },
        devices: Vec::new(),
    };
    for choice in config.inference.device.all() {
        let mut measured = measure_device(&config, plan, model, *choice, &images, &bar).await?;
        if !is_first || !report.devices.is_empty() {
            // The process keeps the memory of what it measured before, so only the first value is meaningful.
            measured.engine.iter_mut().for_each(|run| run.resident_bytes = None);
        }
        report.devices.push(measured);
        // After each device, so that a failure of the next one loses no results.
        write_report(&report, &plan.out)?;
    }
    bar.finish_and_clear();
    Ok(format!("{}\nThe report with its plots: {}\n", report.table(), plan.out.join("report.html").display()))
}

fn write_report(report: &Report, folder: &Path) -> Result<(), BenchError> {
    for (file, text) in [("report.json", report.json()), ("report.csv", report.csv()), ("report.html", report.page())] {
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(|error| output(&path, error))?;
    }
    Ok(())
}

async fn measure_device(
    config: &Config,
    plan: &Plan,
    model: &Model,
    choice: DeviceChoice,
    images: &Images,
    bar: &ProgressBar,
) -> Result<DeviceReport, BenchError> {
    let flag = choice.to_string();
    bar.set_message(format!("{flag}: starting"));
    let (engine, start_seconds, warm_up_seconds) = start_engine(config, model.clone(), choice, bar).await?;
    let DeviceAssignment { device, precision, kernels } = engine.assignment();
    let failed = |reason: String| BenchError::Failed { device: flag.clone(), reason };
    let mut engine_runs = Vec::new();
    for size in &plan.batch_sizes {
        bar.set_message(format!("{flag}: engine, batches of {size}"));
        let (engine, prepared, size, time) = (engine.clone(), images.prepared.clone(), *size, plan.time);
        let run = tokio::task::spawn_blocking(move || engine::measure(engine, &prepared, size, time)).await;
        engine_runs.push(run.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?);
        bar.inc(1);
    }
    let mut server_runs = Vec::new();
    if !plan.concurrencies.is_empty() {
        let server = BenchServer::start(config, model.clone(), engine).await.map_err(&failed)?;
        for connections in &plan.concurrencies {
            bar.set_message(format!("{flag}: server, {connections} connections"));
            server_runs.push(server.measure(*connections, plan.time, &images.files).await.map_err(&failed)?);
            bar.inc(1);
        }
        server.stop().await;
    }
    Ok(DeviceReport {
        flag,
        name: device.name,
        api: device.api,
        driver: device.driver,
        compiler: Some(device.compiler.to_string()),
        precision,
        kernels,
        start_seconds,
        warm_up_seconds,
        engine: engine_runs,
        server: server_runs,
    })
}

/// Starts an engine. Returns it with the seconds until the weights were on the device, and the seconds of the warm-up
/// after that.
async fn start_engine(
    config: &Config,
    model: Model,
    choice: DeviceChoice,
    bar: &ProgressBar,
) -> Result<(BurnEngine, f64, f64), LoadError> {
    let (config, bar) = (config.clone(), bar.clone());
    let work = move || {
        let begun = Instant::now();
        let device = load::open_device(&config, &choice)?;
        let mut loaded = begun.elapsed();
        let options = load::engine_options(&config);
        let engine = BurnEngine::start(model, &device, &options, |step| match step {
            Step::Loaded(_) => loaded = begun.elapsed(),
            Step::WarmingUp(size) => bar.set_message(format!("{choice}: compiling and warming up, batches of {size}")),
            _ => {}
        })?;
        Ok((engine, loaded.as_secs_f64(), (begun.elapsed() - loaded).as_secs_f64()))
    };
    load::join(tokio::task::spawn_blocking(work).await)
}

fn output(path: &Path, error: std::io::Error) -> BenchError {
    BenchError::Output { path: path.display().to_string(), error }
}
