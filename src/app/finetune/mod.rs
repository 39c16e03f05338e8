//! `kiln finetune`: exported feedback in, a new version of a model out, which nobody is served by until an operator says so.
//! `features.rs` runs the network on the pictures.

mod features;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;

use super::load::{self, LoadError, NoStore};
use super::progress;
use crate::config::Config;
use kiln_finetune::{self as finetune, EpochReport, FeedbackExport, FinetuneError, FinetuneOptions, FinetuneResult, Split};
use kiln_inference::{Precision, by_cpu};
use kiln_inference::model::Model;
use crate::store::{Store, StoreError};
use kiln_runtime::telemetry::logging::{self, LoggingError};

/// Why `kiln finetune` ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum FinetuneFailure {
    /// Logging.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// A model or the device.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The feedback, or the training.
    #[error(transparent)]
    Finetune(#[from] FinetuneError),
    /// There is nowhere to put a version.
    #[error(transparent)]
    NoStore(#[from] NoStore),
    /// The store of versions.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing was written, since there was no reason to.
    #[error(
        "no version was written, since on the held-out pictures it is no better than what is there. --force writes it all the same."
    )]
    NoBetter,
    /// Standard output is gone.
    #[error("cannot write the report: {0}")]
    Output(#[from] std::io::Error),
}

/// Trains the head of the model that `--model` names, or else of the first, and adds it to the store as a new version.
///
/// # Errors
///
/// See [`FinetuneFailure`].
pub async fn finetune(mut config: Config, plan: FinetuneOptions) -> Result<(), FinetuneFailure> {
    // Features are passed through the last layer unchanged.
    config.inference.precision = Precision::F32;
    let _log_guard = logging::init(&config.logging)?;
    let store = load::store(&config)?;
    let work = tokio::task::spawn_blocking(move || Ok(run(&config, &store, &plan))).await;
    load::joined(work)?
}

fn run(config: &Config, store: &Store, plan: &FinetuneOptions) -> Result<(), FinetuneFailure> {
    let base = load::stable(config, &load::default_model(config))?;
    let name = base.spec().name;
    let head = base.weights().head(base.spec().labels.len()).map_err(FinetuneError::from)?;
    let FeedbackExport { files: pictures, skipped } = finetune::read_export(&plan.feedback, name, head.classes)?;
    tell(&format!(
        "{name} {}: {} files with a true class; lines skipped: {skipped}\n",
        base.version(),
        pictures.len()
    ))?;
    let choice = &config.inference.device.all()[0];
    let device = load::open(config, choice)?;
    let (features, distinct) = features::extracted(config, &base, &head, &device, &pictures)?;
    tell(&distinct.to_string())?;
    let pictures = distinct.images();
    let classes: Vec<usize> = pictures.iter().map(|picture| picture.class).collect();
    let split = finetune::split(pictures, plan.held_out, plan.seed);
    tell(&shares(&split))?;
    if split.held_out.is_empty() && !plan.force {
        let classes = classes.iter().collect::<BTreeSet<_>>().len();
        return Err(FinetuneError::NothingHeldOut { images: pictures.len(), classes }.into());
    }
    let bar = progress::bar(plan.epochs, "{bar:40} epoch {pos}/{len}, {msg}");
    let improved = finetune::finetune_head(&head, &features, &classes, &split, plan, &device, |epoch| {
        bar.set_position(epoch.number as u64);
        bar.set_message(shown(&epoch));
    })?;
    bar.finish_and_clear();
    tell(&format!("trained for {} epochs; held-out pictures:\n{}", improved.epochs, improved.evaluation))?;
    if !improved.evaluation.is_better() && !plan.force {
        return Err(FinetuneFailure::NoBetter);
    }
    let version = add(config, store, &base, &improved, pictures.len())?;
    tell(&format!(
        "\nwrote {name} {version} to {}. It answers nobody yet. Next:\n\n    \
         kiln models canary {name} {version} --share 10%\n    kiln models promote {name} {version}\n",
        store.folder().display()
    ))?;
    Ok(())
}

/// Adds the version, with the logits that every engine is then held to.
fn add(
    config: &Config,
    store: &Store,
    base: &Model,
    improved: &FinetuneResult,
    pictures: usize,
) -> Result<String, FinetuneFailure> {
    let weights = base.weights().with_head(&improved.head).map_err(FinetuneError::from)?;
    let golden =
        by_cpu(&base.with_weights("finetuned", weights.clone()), &config.inference).map_err(FinetuneError::from)?;
    let verdict = &improved.evaluation;
    let mut origin = format!("kiln finetune of version {} on {pictures} pictures of feedback", base.version());
    if verdict.images > 0 {
        let _ = write!(
            origin,
            "; of {} held out, {} right before and {} after",
            verdict.images, verdict.before, verdict.after
        );
    }
    Ok(store.add(base, &weights, &origin, Some(&golden))?)
}

fn shares(split: &Split) -> String {
    let Split { training, validation, held_out } = split;
    format!("{} train, {} say when to stop, {} are held out\n", training.len(), validation.len(), held_out.len())
}

fn shown(epoch: &EpochReport) -> String {
    let seen =
        epoch.validation.map(|(loss, right)| format!(", kept apart: loss {loss:.3}, {:.1} % right", right * 100.0));
    format!("loss {:.3}{}", epoch.loss, seen.unwrap_or_default())
}

fn tell(text: &str) -> std::io::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes())
}
