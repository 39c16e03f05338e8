//! `kiln check`: does the stable version of each model answer the picture whose logits are known as it should, on each device?

use std::fmt::Write as _;
use std::io::Write as _;

use super::load::{self, LoadError};
use crate::config::Config;
use kiln_inference::{Checked, Reference, check as compare};
use kiln_inference::model::Model;
use kiln_runtime::telemetry::logging::{self, LoggingError};

/// Why `kiln check` ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Logging.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// A model or the device.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Standard output is gone.
    #[error("cannot write the answers: {0}")]
    Output(#[from] std::io::Error),
    /// The table has told which.
    #[error(
        "{wrong} of {total} answers are further from the right ones than another order of sums explains. If the model was just \
         imported: are mean and std of its model.toml those that the logits were made with, and is it the same network?"
    )]
    Wrong {
        /// How many.
        wrong: usize,
        /// Of how many.
        total: usize,
    },
}

/// Checks the model that `--model` names, or else all, and prints a line for each device.
///
/// # Errors
///
/// A model does not run, or answers wrongly.
pub async fn check(config: Config) -> Result<(), CheckError> {
    let _log_guard = logging::init(&config.logging)?;
    let answers = load::joined(tokio::task::spawn_blocking(move || all(&config)).await)?;
    let table: String = answers.iter().map(|(model, checked)| line(model, checked)).collect();
    std::io::stdout().lock().write_all(table.as_bytes())?;
    let is_wrong = |checked: &Checked| checked.difference.is_some_and(|difference| !difference.is_allowed());
    let (wrong, total) = (answers.iter().filter(|(_, checked)| is_wrong(checked)).count(), answers.len());
    if wrong > 0 { Err(CheckError::Wrong { wrong, total }) } else { Ok(()) }
}

fn all(config: &Config) -> Result<Vec<(Model, Checked)>, LoadError> {
    let devices = load::devices(config)?;
    let is_wanted = |model: &Model| config.model.as_deref().is_none_or(|name| name == model.spec().name);
    let mut answers = Vec::new();
    for model in Model::all().filter(is_wanted) {
        let model = load::stable(config, model.spec().name)?;
        for device in &devices {
            answers.push((model.clone(), compare(model.clone(), device, &load::options(config), |_| ())?));
        }
    }
    Ok(answers)
}

fn line(model: &Model, checked: &Checked) -> String {
    let (spec, place) = (model.spec(), &checked.placement);
    let mut line = format!(
        "{} {} on {} ({}, {}): ",
        spec.name,
        model.version(),
        place.device.name,
        place.precision,
        place.kernels
    );
    let whose = match checked.reference {
        Reference::Known if model.version() == spec.version => "those of its manifest",
        Reference::Known => "those that came with the version",
        Reference::Cpu => "the CPU's",
        Reference::None => "",
    };
    let _ = match checked.difference {
        None => writeln!(line, "it runs; its manifest names no logits ('reference_logits') to compare with"),
        Some(difference) => {
            let verdict = if difference.is_allowed() { "right" } else { "WRONG" };
            let (largest, allowed) = (difference.largest, difference.allowed);
            writeln!(line, "{verdict}; logits differ from {whose} by {largest:.1e} at most, {allowed:.1e} is allowed")
        }
    };
    line
}
