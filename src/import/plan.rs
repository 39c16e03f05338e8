//! An order, what the network is, and answers become a draft.

use model_import::Crop;
use model_import::import::{Draft, InspectedModel, PRESETS, Preprocess, Preset, check_name, check_version};

use super::lines::{self, LinesError, read_logits};
use super::order::{Labels, Order};
use super::question::{Asker, NoAnswer};

/// What is missing or wrong in an order. The network is not at fault.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It has no default, and nobody can be asked.
    #[error("{flag} is missing, and there is nobody at a terminal to ask: {hint}")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// What to give.
        hint: String,
    },
    /// A flag's value.
    #[error("{flag}: {reason}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The file of `--labels`.
    #[error("--labels: {0}")]
    Labels(#[source] LinesError),
    /// The file of `--logits`.
    #[error("--logits: {0}")]
    Logits(#[source] LinesError),
}

/// The model's name: as it was told, or after the file, or as answered.
///
/// # Errors
///
/// It cannot stand in addresses.
pub fn name(order: &Order, asker: &mut Asker<'_>) -> Result<String, PlanError> {
    let value = |reason: String| PlanError::Value { flag: "--name", reason };
    let checked = |name: &str| check_name(name).map(|()| name.to_string());
    if let Some(name) = &order.name {
        return checked(name).map_err(value);
    }
    let stem = order.onnx.file_stem().unwrap_or_default().to_string_lossy();
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let default = plain.trim_start_matches('.');
    if order.is_complete() {
        return checked(default).map_err(value);
    }
    asker
        .ask("Name, as it stands in addresses", Some(default), checked)
        .or_else(|NoAnswer| checked(default).map_err(value))
}

/// All that goes into the folder of the model `name`. `imagenet` are the names of ImageNet's classes.
///
/// On a terminal what has no default is asked for, and then the rest too; with `--labels` and `--preset` nothing is.
///
/// # Errors
///
/// See [`PlanError`].
pub fn plan(
    order: &Order,
    network: &InspectedModel,
    name: &str,
    imagenet: &[&str],
    asker: &mut Asker<'_>,
) -> Result<Draft, PlanError> {
    let labels = labels(order, network.classes, imagenet, asker)?;
    let preprocess = preprocess(order, network, asker)?;
    let mut nobody = Asker::nobody();
    let asker = if order.is_complete() { &mut nobody } else { asker };
    let version = order.version.clone().unwrap_or_else(|| "1".to_string());
    check_version(&version).map_err(|reason| PlanError::Value { flag: "--model-version", reason })?;
    let file = network.path.file_name().unwrap_or_default().to_string_lossy();
    let mut text = |told: &Option<String>, question: &str, default: String| match told {
        Some(text) => text.clone(),
        None => asker.ask(question, Some(&default), |text| Ok(text.to_string())).unwrap_or(default),
    };
    Ok(Draft {
        name: name.to_string(),
        version,
        description: text(
            &order.description,
            "Description, one sentence",
            format!("{name}: {} classes", network.classes),
        ),
        source: text(&order.source, "Where the weights come from", format!("imported from {file}")),
        licence: text(&order.licence, "Their licence, by its SPDX name", "unknown".to_string()),
        labels,
        logits: order.logits.as_deref().map(read_logits).transpose().map_err(PlanError::Logits)?,
        preprocess,
    })
}

fn labels(order: &Order, classes: usize, imagenet: &[&str], asker: &mut Asker<'_>) -> Result<Vec<String>, PlanError> {
    let read = |from: &Labels| lines::labels(from, classes, imagenet);
    let question = format!("Names of the {classes} classes: a file with one a line, 'imagenet' or 'numbers'");
    let answered = |text: &str| {
        let Ok(from) = text.parse::<Labels>();
        read(&from).map_err(|e| e.to_string())
    };
    match &order.labels {
        // A file that is not there is asked for again, where somebody can be asked.
        Some(from) => read(from).or_else(|error| match error {
            LinesError::Unreadable { .. } => {
                asker.ask(&format!("{error}. {question}"), None, answered).map_err(|NoAnswer| PlanError::Labels(error))
            }
            error => Err(PlanError::Labels(error)),
        }),
        None => asker.ask(&question, None, answered).map_err(|NoAnswer| PlanError::Missing {
            flag: "--labels",
            hint: format!("a file with the names of the {classes} classes, one a line, or 'imagenet', or 'numbers'"),
        }),
    }
}

fn preprocess(order: &Order, network: &InspectedModel, asker: &mut Asker<'_>) -> Result<Preprocess, PlanError> {
    let (width, height) = (network.width, network.height);
    let preset = match order.preset {
        Some(preset) => preset,
        // Then nothing of it is taken.
        None if order.has_preprocess() => &PRESETS[0],
        None => ask_preset(asker)?,
    };
    let values = preset.values(width, height);
    let crop = order.crop.as_ref().map(|text| Crop::parse(text, width, height)).transpose();
    Ok(Preprocess {
        filter: order.filter.unwrap_or(values.filter),
        crop: crop.map_err(|e| PlanError::Value { flag: "--crop", reason: e.to_string() })?.unwrap_or(values.crop),
        mean: order.mean.unwrap_or(values.mean),
        std: order.std.unwrap_or(values.std),
    })
}

fn ask_preset(asker: &mut Asker<'_>) -> Result<&'static Preset, PlanError> {
    let list: String = PRESETS.iter().map(|preset| format!("\n  {:<18} {}", preset.name, preset.about)).collect();
    let question = format!(
        "How are pictures prepared? A wrong answer breaks nothing and costs accuracy, so look it up.{list}\nPreset"
    );
    asker.ask(&question, Some(PRESETS[0].name), |text| text.parse::<&Preset>().map_err(|e| e.to_string())).map_err(
        |NoAnswer| {
            let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
            PlanError::Missing { flag: "--preset", hint: names.join(", ") }
        },
    )
}

#[cfg(test)]
mod tests;
