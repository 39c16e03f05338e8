//! `kiln bench`: the same pictures on each device, first through the engine alone and then through the whole server.
//!
//! | file | responsibility |
//! |---|---|
//! | `pictures.rs` | what is classified |
//! | `engine.rs` | batches through an engine |
//! | `server.rs` | requests to a server in this process |
//! | `client.rs` | one connection's requests, and what their answers say |
//! | `machine.rs` | where it runs |

mod client;
mod engine;
mod machine;
mod pictures;
mod server;

use std::path::Path;
use std::time::{Instant, SystemTime};

use indicatif::ProgressBar;

use super::load::{self, LoadError};
use super::progress;
use crate::bench::{DeviceReport, Model as ModelReport, Plan, Report};
use crate::config::Config;
use kiln_inference::{BurnEngine, DeviceChoice, Placement, Step};
use kiln_inference::model::Model;
use kiln_runtime::telemetry::logging::{self, LoggingError};
use pictures::Pictures;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Logging.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// A device or the model.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The pictures.
    #[error("{0}")]
    Pictures(String),
    /// A measurement went wrong.
    #[error("{device} failed while it was measured: {reason}")]
    Failed {
        /// What was given as `--device`.
        device: String,
        /// What happened.
        reason: String,
    },
    /// A file of the report.
    #[error("cannot write {path}: {error}")]
    Output {
        /// Which one.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

/// Measures each device, writes `report.json`, `report.csv` and `report.html`, and gives back the table for the terminal.
///
/// # Errors
///
/// A device cannot be had, a measurement fails, or the report cannot be written. What `--out` names is made first, so that
/// no measurement is lost for the want of a folder.
pub async fn bench(mut config: Config, plan: Plan) -> Result<String, BenchError> {
    let _log_guard = logging::init(&config.logging)?;
    std::fs::create_dir_all(&plan.out).map_err(|error| output(&plan.out, error))?;
    let name = load::default_model(&config);
    let model = load::stable(&config, &name)?;
    config.batching.max_batch_size = plan.batch_sizes.iter().copied().max().unwrap_or(1);
    let crowd = plan.concurrencies.iter().copied().max().unwrap_or(1);
    config.batching.queue_capacity = config.batching.queue_capacity.max(crowd);
    let pictures = Pictures::load(plan.images.as_deref(), &model, &config.image).map_err(BenchError::Pictures)?;
    let largest = pictures.files.iter().map(bytes::Bytes::len).max().unwrap_or(0);
    config.api.max_body_bytes = config.api.max_body_bytes.max(largest);
    let steps = (plan.batch_sizes.len() + plan.concurrencies.len()) * config.inference.device.all().len();
    let bar = progress::turning(progress::bar(steps, "{spinner} {bar:30} {pos}/{len} {elapsed} {msg}"));
    let created = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut report = Report {
        created,
        kiln: env!("CARGO_PKG_VERSION").to_string(),
        machine: machine::machine(),
        model: ModelReport { name: name.clone(), version: model.version().to_string(), digest: model.digest() },
        devices: Vec::new(),
    };
    for choice in config.inference.device.all() {
        let mut measured = device(&config, &plan, &model, *choice, &pictures, &bar).await?;
        if !report.devices.is_empty() {
            // What the devices before have taken is not given back, so only the first one's memory is its own.
            measured.engine.iter_mut().for_each(|run| run.resident_bytes = None);
        }
        report.devices.push(measured);
        // After each device, so that one that fails does not take the others' figures with it.
        write(&report, &plan.out)?;
    }
    bar.finish_and_clear();
    Ok(format!("{}\nThe report with its plots: {}\n", report.table(), plan.out.join("report.html").display()))
}

fn write(report: &Report, folder: &Path) -> Result<(), BenchError> {
    for (file, text) in [("report.json", report.json()), ("report.csv", report.csv()), ("report.html", report.page())] {
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(|error| output(&path, error))?;
    }
    Ok(())
}

async fn device(
    config: &Config,
    plan: &Plan,
    model: &Model,
    choice: DeviceChoice,
    pictures: &Pictures,
    bar: &ProgressBar,
) -> Result<DeviceReport, BenchError> {
    let flag = choice.to_string();
    bar.set_message(format!("{flag}: starting"));
    let (engine, start_seconds, warm_up_seconds) = start(config, model.clone(), choice, bar).await?;
    let Placement { device, precision, kernels } = engine.placement();
    let failed = |reason: String| BenchError::Failed { device: flag.clone(), reason };
    let mut runs = Vec::new();
    for size in &plan.batch_sizes {
        bar.set_message(format!("{flag}: engine, batches of {size}"));
        let (engine, prepared, size, time) = (engine.clone(), pictures.prepared.clone(), *size, plan.time);
        let run = tokio::task::spawn_blocking(move || engine::run(engine, &prepared, size, time)).await;
        runs.push(run.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?);
        bar.inc(1);
    }
    let mut loads = Vec::new();
    if !plan.concurrencies.is_empty() {
        let served = server::start(config, model.clone(), engine).await.map_err(&failed)?;
        for connections in &plan.concurrencies {
            bar.set_message(format!("{flag}: server, {connections} connections"));
            loads.push(served.load(*connections, plan.time, &pictures.files).await.map_err(&failed)?);
            bar.inc(1);
        }
        served.stop().await;
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
        engine: runs,
        server: loads,
    })
}

/// The engine, the seconds until its weights were on the device, and those from then on until it was ready.
async fn start(
    config: &Config,
    model: Model,
    choice: DeviceChoice,
    bar: &ProgressBar,
) -> Result<(BurnEngine, f64, f64), LoadError> {
    let (config, bar) = (config.clone(), bar.clone());
    let work = move || {
        let begun = Instant::now();
        let device = load::open(&config, &choice)?;
        let mut loaded = begun.elapsed();
        let options = load::options(&config);
        let engine = BurnEngine::start(model, &device, &options, |step| match step {
            Step::Loaded(_) => loaded = begun.elapsed(),
            Step::WarmingUp(size) => bar.set_message(format!("{choice}: compiling and warming up, batches of {size}")),
            _ => {}
        })?;
        Ok((engine, loaded.as_secs_f64(), (begun.elapsed() - loaded).as_secs_f64()))
    };
    load::joined(tokio::task::spawn_blocking(work).await)
}

fn output(path: &Path, error: std::io::Error) -> BenchError {
    BenchError::Output { path: path.display().to_string(), error }
}
