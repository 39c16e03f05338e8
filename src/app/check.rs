//! `kiln check`: compares the logits of the stable version of each model with its reference logits, on each device.

use std::fmt::Write as _;
use std::io::Write as _;

use kiln_inference::model::Model;
use kiln_inference::{ReferenceSource, SelfTestReport, self_test_report as compare};
use kiln_runtime::telemetry::logging::LoggingError;

use super::load::{self, LoadError};
use super::start::init_logging;
use crate::config::Config;

/// The error of [`check`].
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Logging cannot start.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// A device or a model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Standard output is closed.
    #[error("cannot write the results: {0}")]
    Output(#[from] std::io::Error),
    /// Some logits are wrong. The printed table lists them.
    #[error(
        "{wrong} of {total} results differ from the reference logits by more than rounding explains. If the model was just \
         imported, check that mean and std in its model.toml are those of the reference logits, and that it is the same network."
    )]
    Wrong {
        /// Number of wrong results.
        wrong: usize,
        /// Number of all results.
        total: usize,
    },
}

/// Checks the model that `--model` names, or all models, and prints a line for each model and device.
///
/// # Errors
///
/// Returns an error if a model does not run, or if its logits are wrong.
pub async fn check(config: Config) -> Result<(), CheckError> {
    let _log_guard = init_logging(&config)?;
    let results = load::join(tokio::task::spawn_blocking(move || check_all(&config)).await)?;
    let table: String = results.iter().map(|(model, checked)| line(model, checked)).collect();
    std::io::stdout().lock().write_all(table.as_bytes())?;
    let is_wrong = |checked: &SelfTestReport| checked.difference.is_some_and(|difference| !difference.is_allowed());
    let (wrong, total) = (results.iter().filter(|(_, checked)| is_wrong(checked)).count(), results.len());
    if wrong > 0 { Err(CheckError::Wrong { wrong, total }) } else { Ok(()) }
}

fn check_all(config: &Config) -> Result<Vec<(Model, SelfTestReport)>, LoadError> {
    let devices = load::open_devices(config)?;
    let is_selected = |model: &Model| config.model.as_deref().is_none_or(|name| name == model.name());
    let mut results = Vec::new();
    for model in load::models(config)?.into_iter().filter(is_selected) {
        let model = load::stable_version(config, &model)?;
        for device in &devices {
            results.push((model.clone(), compare(model.clone(), device, &load::engine_options(config), |_| ())?));
        }
    }
    Ok(results)
}

fn line(model: &Model, checked: &SelfTestReport) -> String {
    let (spec, placement) = (model.spec(), &checked.assignment);
    let mut line = format!(
        "{} {} on {} ({}, {}): ",
        spec.name,
        model.version(),
        placement.device.name,
        placement.precision,
        placement.kernels
    );
    let reference = match checked.reference {
        ReferenceSource::Weights if model.version() == spec.version => "those of its manifest",
        ReferenceSource::Weights => "those that came with the version",
        ReferenceSource::Cpu => "the CPU's",
        ReferenceSource::None => "",
    };
    let _ = match checked.difference {
        None => writeln!(line, "it runs; its manifest has no reference logits ('reference_logits') to compare with"),
        Some(difference) => {
            let verdict = if difference.is_allowed() { "right" } else { "WRONG" };
            let (largest, allowed) = (difference.largest, difference.allowed);
            writeln!(
                line,
                "{verdict}; logits differ from {reference} by {largest:.1e} at most, {allowed:.1e} is allowed"
            )
        }
    };
    line
}
