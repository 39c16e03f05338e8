//! `kiln predict FILE...`: classifies files without a server, with the same classifier.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use kiln_classifier::{AdmitError, BatchError, Classifier, ClassifyError, EncodedImage, Prediction, RequestOptions};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::logging::{self, LoggingError};
use model_import::import::{read_file, terminal_text};
use serde_json::json;

use super::load::{self, LoadError};
use super::progress;
use crate::config::Config;

/// Minimum number of files for a progress bar.
const MIN_FILES_FOR_PROGRESS: usize = 8;

/// Time until the next attempt while a failed device is replaced.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// The error of [`predict`].
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// Logging cannot start.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The model or the device cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Standard output is closed.
    #[error("cannot write the predictions: {0}")]
    Output(#[from] std::io::Error),
    /// Some files have no prediction. Standard error names each of them.
    #[error("{failed} of {total} files could not be classified")]
    Files {
        /// Number of files without a prediction.
        failed: usize,
        /// Number of all files.
        total: usize,
    },
}

/// Classifies `files` and prints the `top_k` classes of each, as text or as one JSON object per line.
///
/// # Errors
///
/// Returns an error if the model cannot be loaded or if a file cannot be classified.
pub async fn predict(config: Config, files: Vec<PathBuf>, top_k: usize, json: bool) -> Result<(), PredictError> {
    let _log_guard = logging::init(&config.logging)?;
    let (model, engines) = load::start_engines(&config).await?;
    let (classifier, worker) = load::classifier(&config, model, engines, Readiness::starting());
    let outcome = predict_all(&classifier, &config, files, top_k, json).await;
    drop(classifier);
    worker.shutdown().await;
    outcome
}

async fn predict_all(
    classifier: &Classifier,
    config: &Config,
    files: Vec<PathBuf>,
    top_k: usize,
    json: bool,
) -> Result<(), PredictError> {
    let total = files.len();
    let bar = match total < MIN_FILES_FOR_PROGRESS {
        true => ProgressBar::hidden(),
        false => progress::bar(total, "{bar:40} {pos}/{len} images, {per_sec}, {eta} left"),
    };
    // Two batches: one runs while the next is decoded. More than the queue holds would be rejected.
    let in_flight = (config.batching.max_batch_size * 2).min(config.batching.queue_capacity);
    let mut results = stream::iter(files)
        .map(|file| async move {
            let result = predict_file(classifier, &file, config.image.decode_budget.capacity(), top_k).await;
            (file, result)
        })
        .buffered(in_flight);
    let mut failed = 0;
    while let Some((file, result)) = results.next().await {
        bar.inc(1);
        match result {
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

/// Classifies a file of at most `max_bytes`.
async fn predict_file(
    classifier: &Classifier,
    file: &Path,
    max_bytes: u64,
    top_k: usize,
) -> Result<Prediction, String> {
    let path = file.to_path_buf();
    let read = tokio::task::spawn_blocking(move || read_file(&path, max_bytes)).await.map_err(|e| e.to_string())?;
    let bytes = read.map_err(|e| e.to_string())?;
    let image = EncodedImage { bytes: bytes.into(), file_name: None };
    loop {
        let options = RequestOptions { top_k: Some(top_k), ..RequestOptions::default() };
        match classifier.classify(image.clone(), options).await {
            // The device is being replaced, which takes a moment, and no other server can take the file.
            Err(ClassifyError::Admit(AdmitError::Recovering) | ClassifyError::Batch(BatchError::Recovering)) => {
                tokio::time::sleep(RETRY_DELAY).await;
            }
            result => return result.map_err(|e| e.to_string()),
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
        .map(|c| json!({"label": &*c.label, "class_id": c.class_id, "probability": c.probability}))
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
