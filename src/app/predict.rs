//! `kiln predict FILE...`: classifies files without a server, through the same rooms.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use model_import::import::{read_file, terminal_text};
use serde_json::json;

use super::load::{self, LoadError};
use super::progress;
use kiln_classifier::{AdmitError, BatchError, Classifier, ClassifyError, Options, Picture, Prediction};
use crate::config::Config;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::logging::{self, LoggingError};

/// Files from which on a progress bar is worth its line.
const MANY: usize = 8;

/// Why `kiln predict` ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// Logging.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The model or the device.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Standard output is gone.
    #[error("cannot write the answers: {0}")]
    Output(#[from] std::io::Error),
    /// Some files have no answer; each was named on standard error.
    #[error("{failed} of {total} files could not be classified")]
    Files {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
    },
}

/// Classifies `files` and prints the `top_k` classes of each, as text or as one JSON object a line.
///
/// # Errors
///
/// Nothing can be classified, or some file cannot.
pub async fn predict(config: Config, files: Vec<PathBuf>, top_k: usize, json: bool) -> Result<(), PredictError> {
    let _log_guard = logging::init(&config.logging)?;
    let name = load::default_model(&config);
    let (model, engines) = load::engines(&config, &name).await?;
    let (classifier, worker) = load::classifier(&config, model, engines, Readiness::starting());
    let outcome = all(&classifier, &config, files, top_k, json).await;
    drop(classifier);
    worker.shutdown().await;
    outcome
}

async fn all(
    classifier: &Classifier,
    config: &Config,
    files: Vec<PathBuf>,
    top_k: usize,
    json: bool,
) -> Result<(), PredictError> {
    let total = files.len();
    let bar = match total < MANY {
        true => ProgressBar::hidden(),
        false => progress::bar(total, "{bar:40} {pos}/{len} pictures, {per_sec}, {eta} left"),
    };
    // Enough in flight to fill a batch while the next one is decoded, never more than the queue holds.
    let in_flight = (config.batching.max_batch_size * 2).min(config.batching.queue_capacity);
    let mut answers = stream::iter(files)
        .map(|file| async move {
            let answer = one(classifier, &file, config.image.decoded.most(), top_k).await;
            (file, answer)
        })
        .buffered(in_flight);
    let mut failed = 0;
    while let Some((file, answer)) = answers.next().await {
        bar.inc(1);
        match answer {
            Ok(prediction) => {
                let text = if json { as_json(classifier, &file, &prediction) } else { as_text(&file, &prediction) };
                bar.suspend(|| std::io::stdout().lock().write_all(text.as_bytes()))?;
            }
            Err(reason) => {
                failed += 1;
                bar.suspend(|| eprintln!("{}", terminal_text(&format!("{}: {reason}", file.display()))));
            }
        }
    }
    bar.finish_and_clear();
    if failed > 0 { Err(PredictError::Files { failed, total }) } else { Ok(()) }
}

/// The answer to a file of at most `most` bytes.
async fn one(classifier: &Classifier, file: &Path, most: u64, top_k: usize) -> Result<Prediction, String> {
    let path = file.to_path_buf();
    let read = tokio::task::spawn_blocking(move || read_file(&path, most)).await.map_err(|e| e.to_string())?;
    let bytes = read.map_err(|e| e.to_string())?;
    let picture = Picture { bytes: bytes.into(), file_name: None };
    loop {
        let options = Options { top_k, ..Options::default() };
        match classifier.classify(picture.clone(), options).await {
            // A device that is replaced is back in a moment, and nobody else could take the file.
            Err(ClassifyError::Admit(AdmitError::Recovering) | ClassifyError::Batch(BatchError::Recovering)) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            answer => return answer.map_err(|e| e.to_string()),
        }
    }
}

fn as_text(file: &Path, prediction: &Prediction) -> String {
    let image = &prediction.image;
    let file = terminal_text(&file.display().to_string());
    let mut text = format!("{file} ({}, {}x{})\n", image.format, image.width, image.height);
    for class in &prediction.classes {
        text.push_str(&format!("  {:>6.2} %  {} ({})\n", class.probability * 100.0, class.label, class.class_id));
    }
    text
}

fn as_json(classifier: &Classifier, file: &Path, prediction: &Prediction) -> String {
    let spec = classifier.model().spec();
    let classes: Vec<_> = prediction
        .classes
        .iter()
        .map(|c| json!({"label": c.label, "class_id": c.class_id, "probability": c.probability}))
        .collect();
    let image = &prediction.image;
    let line = json!({
        "file": file.display().to_string(),
        "model": {"name": spec.name, "version": classifier.model().version(), "digest": classifier.model().digest()},
        "predictions": classes,
        "image": {"format": image.format.to_string(), "width": image.width, "height": image.height},
    });
    format!("{line}\n")
}
