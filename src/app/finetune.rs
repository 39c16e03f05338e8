//! `kiln finetune`: trains the last layer of a model on exported feedback and adds the result to the model store. The
//! new version has no label, so it serves no request until an operator promotes it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;

use kiln_finetune::{
    self as finetune, Deduplicated, EpochReport, FeatureExtractor, Features, FeedbackExport, FinetuneError,
    FinetuneOptions, FinetuneResult, LabelledFile, Split,
};
use kiln_inference::model::Model;
use kiln_inference::{ChosenDevice, Precision, reference_logits_on_cpu};
use kiln_runtime::telemetry::logging::LoggingError;
use model_import::import::terminal_text;

use super::error_output::print_error;
use super::load::{self, LoadError, NoStore};
use super::progress;
use super::start::init_logging;
use crate::config::Config;
use crate::model_store::{ModelStore, StoreError};
use crate::shell::models_command;

/// Number of decoded images in memory at once. An image takes 150 KB for a network of 224x224.
const CHUNK: usize = 1024;
/// Maximum number of unreadable files that are named.
const MAX_NAMED: usize = 5;

/// The error of [`finetune()`].
#[derive(Debug, thiserror::Error)]
pub enum FinetuneFailure {
    /// Logging cannot start.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The model or the device cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The feedback cannot be used, or the training failed.
    #[error(transparent)]
    Finetune(#[from] FinetuneError),
    /// No model store is configured.
    #[error(transparent)]
    NoStore(#[from] NoStore),
    /// The model store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The new version is no better, so it was not written.
    #[error(
        "no version was written: it is no better on the held-out images than the current version. --force writes it all the same."
    )]
    NoBetter,
    /// Standard output is closed.
    #[error("cannot write the report: {0}")]
    Output(#[from] std::io::Error),
}

/// Trains the last layer of the model that `--model` names, or of the first, and adds the result to the store as a new
/// version.
///
/// # Errors
///
/// See [`FinetuneFailure`].
pub async fn finetune(mut config: Config, options: FinetuneOptions) -> Result<(), FinetuneFailure> {
    // Other precisions would change the features that the last layer receives.
    config.inference.precision = Precision::F32;
    let _log_guard = init_logging(&config)?;
    let store = load::store(&config)?;
    let work = tokio::task::spawn_blocking(move || Ok(run(&config, &store, &options))).await;
    load::join(work)?
}

fn run(config: &Config, store: &ModelStore, options: &FinetuneOptions) -> Result<(), FinetuneFailure> {
    let base = load::selected_model(config)?;
    let name = base.name();
    let weights = base.weights().ok_or(FinetuneError::NotBuiltIn)?;
    let head = weights.head(base.spec().labels.len()).map_err(FinetuneError::from)?;
    let FeedbackExport { files, skipped } = finetune::read_export(&options.feedback, name, head.classes)?;
    print(&format!("{name} {}: {} files with a true class; lines skipped: {skipped}\n", base.version(), files.len()))?;
    let choice = &config.inference.device.all()[0];
    let device = load::open_device(config, choice)?;
    let (features, deduplicated) = extract_features(config, &base, &head, &device, &files)?;
    print(&deduplicated.to_string())?;
    let images = deduplicated.images();
    let classes: Vec<usize> = images.iter().map(|image| image.class).collect();
    let split = finetune::split(images, options.held_out, options.seed);
    print(&split_line(&split))?;
    if split.held_out.is_empty() && !options.force {
        let classes = classes.iter().collect::<BTreeSet<_>>().len();
        return Err(FinetuneError::NothingHeldOut { images: images.len(), classes }.into());
    }
    let bar = progress::bar(options.epochs, "{bar:40} epoch {pos}/{len}, {msg}");
    let result = finetune::finetune_head(&head, &features, &classes, &split, options, &device, |epoch| {
        bar.set_position(epoch.number as u64);
        bar.set_message(epoch_line(&epoch));
    })?;
    bar.finish_and_clear();
    print(&format!("trained for {} epochs; held-out images:\n{}", result.epochs, result.evaluation))?;
    if !result.evaluation.is_better() && !options.force {
        return Err(FinetuneFailure::NoBetter);
    }
    let version = add_version(config, store, &base, &result, images.len())?;
    print(&format!(
        "\nwrote {name} {version} to {}. It serves no request yet. Next:\n\n    {}\n    {}\n",
        store.folder().display(),
        models_command(&format!("canary {name} {version} --share 10%"), store.folder()),
        models_command(&format!("promote {name} {version}"), store.folder())
    ))?;
    Ok(())
}

/// Returns the features of each distinct image, and those images. Decodes [`CHUNK`] images at a time, since all of them
/// may not fit in memory. Names the files that are not images.
fn extract_features(
    config: &Config,
    model: &Model,
    head: &model_import::Head,
    device: &ChosenDevice,
    files: &[LabelledFile],
) -> Result<(Features, Deduplicated), FinetuneFailure> {
    let recipe = kiln_classifier::preprocess_spec(model);
    let threads = NonZeroUsize::new(config.decode_threads).unwrap_or(NonZeroUsize::MIN);
    let passes = head.passes();
    let bar = progress::bar(files.len() * passes, "{bar:40} {percent} % of the features, {eta} left");
    let mut extractor = FeatureExtractor::start(model, head, device, load::engine_options(config))?;
    let mut features = Features { width: head.features, values: Vec::new() };
    let mut deduplicated = Deduplicated::default();
    let mut unreadable = 0;
    for chunk in files.chunks(CHUNK) {
        let mut samples = Vec::with_capacity(chunk.len());
        let paths: Vec<&Path> = chunk.iter().map(|file| &*file.path).collect();
        let images = finetune::preprocess_files(&paths, &recipe, &config.image, threads);
        for (file, image) in chunk.iter().zip(images) {
            match image {
                Ok(image) if deduplicated.insert(&image, file.class) => samples.push(image.into()),
                Ok(_) => {}
                Err(reason) => {
                    unreadable += 1;
                    if unreadable <= MAX_NAMED {
                        let text = terminal_text(&format!("{}: {reason}", file.path.display()));
                        bar.suspend(|| print_error(text));
                    }
                }
            }
        }
        bar.inc(((chunk.len() - samples.len()) * passes) as u64);
        features.values.extend(extractor.run(&samples, |done| bar.inc(done as u64))?.values);
    }
    bar.finish_and_clear();
    if unreadable > 0 {
        print(&format!("{unreadable} files are not readable images and are skipped\n"))?;
    }
    if deduplicated.images().is_empty() {
        return Err(FinetuneError::NoImages("none of the files is an image".to_string()).into());
    }
    Ok((features, deduplicated))
}

/// Adds the version to the store, with the reference logits that every engine is checked against.
fn add_version(
    config: &Config,
    store: &ModelStore,
    base: &Model,
    result: &FinetuneResult,
    images: usize,
) -> Result<String, FinetuneFailure> {
    let weights =
        base.weights().ok_or(FinetuneError::NotBuiltIn)?.with_head(&result.head).map_err(FinetuneError::from)?;
    let finetuned = base.with_weights("finetuned", weights.clone());
    let reference = reference_logits_on_cpu(&finetuned, &config.inference).map_err(FinetuneError::from)?;
    let evaluation = &result.evaluation;
    let mut origin = format!("kiln finetune of version {} on {images} images of feedback", base.version());
    if evaluation.images > 0 {
        let _ = write!(
            origin,
            "; of {} held out, {} right before and {} after",
            evaluation.images, evaluation.before, evaluation.after
        );
    }
    Ok(store.add(base, &weights, &origin, Some(&reference))?)
}

fn split_line(split: &Split) -> String {
    let Split { training, validation, held_out } = split;
    format!(
        "{} for training, {} for early stopping, {} are held out\n",
        training.len(),
        validation.len(),
        held_out.len()
    )
}

fn epoch_line(epoch: &EpochReport) -> String {
    let validation =
        epoch.validation.map(|(loss, right)| format!(", validation: loss {loss:.3}, {:.1} % right", right * 100.0));
    format!("loss {:.3}{}", epoch.loss, validation.unwrap_or_default())
}

fn print(text: &str) -> std::io::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes())
}
