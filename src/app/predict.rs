//! `kiln predict FILE...`: classifies files without a server, with the same classifier.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use kiln_classifier::{
    AdmitError, BatchError, Class, Classifier, ClassifyError, Embedding, EncodedImage, ImageInfo, Prediction,
    RequestOptions,
};
use kiln_inference::model::Task;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::logging::{self, LoggingError};
use model_import::import::{read_file, terminal_text};
use serde_json::json;

use super::load::{self, LoadError};
use super::progress;
use crate::config::Config;

/// Minimum number of files for a progress bar.
const MIN_FILES_FOR_PROGRESS: usize = 8;

/// Number of an embedding's values that are printed as text.
const SHOWN_DIMENSIONS: usize = 4;

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

/// Classifies `files` and prints the `top_k` classes of each, or the model's default number, as text or as one JSON object per line.
///
/// # Errors
///
/// Returns an error if the model cannot be loaded or if a file cannot be classified.
pub async fn predict(
    config: Config,
    files: Vec<PathBuf>,
    top_k: Option<usize>,
    json: bool,
) -> Result<(), PredictError> {
    let _log_guard = logging::init(&config.logging)?;
    let (model, engines) = load::start_engines(&config).await?;
    let (classifier, worker) = load::classifier(&config, model, engines, Readiness::starting())?;
    let outcome = predict_all(&classifier, &config, files, top_k, json).await;
    drop(classifier);
    worker.shutdown().await;
    outcome
}

async fn predict_all(
    classifier: &Classifier,
    config: &Config,
    files: Vec<PathBuf>,
    top_k: Option<usize>,
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
            Ok(output) => {
                let text = if json { as_json(classifier, &file, &output) } else { as_text(&file, &output) };
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

/// What the model returned for a file.
enum FileOutput {
    Prediction(Prediction),
    Embedding(Embedding),
}

impl FileOutput {
    fn image(&self) -> ImageInfo {
        match self {
            Self::Prediction(prediction) => prediction.image,
            Self::Embedding(embedding) => embedding.image,
        }
    }
}

/// Classifies a file of at most `max_bytes`, or computes its embedding.
async fn predict_file(
    classifier: &Classifier,
    file: &Path,
    max_bytes: u64,
    top_k: Option<usize>,
) -> Result<FileOutput, String> {
    let path = file.to_path_buf();
    let read = tokio::task::spawn_blocking(move || read_file(&path, max_bytes)).await.map_err(|e| e.to_string())?;
    let bytes = read.map_err(|e| e.to_string())?;
    let image = EncodedImage { bytes: bytes.into(), file_name: None };
    loop {
        match run(classifier, image.clone(), top_k).await {
            // The device is being replaced, which takes a moment, and no other server can take the file.
            Err(ClassifyError::Admit(AdmitError::Recovering) | ClassifyError::Batch(BatchError::Recovering)) => {
                tokio::time::sleep(RETRY_DELAY).await;
            }
            result => return result.map_err(|e| e.to_string()),
        }
    }
}

async fn run(classifier: &Classifier, image: EncodedImage, top_k: Option<usize>) -> Result<FileOutput, ClassifyError> {
    let options = RequestOptions { top_k: top_k.or(classifier.default_top_k()), ..RequestOptions::default() };
    if classifier.model().spec().task != Task::Embedding {
        return classifier.classify(image, options).await.map(FileOutput::Prediction);
    }
    let mut embedding = classifier.embed(image, options).await?;
    embedding.normalise();
    Ok(FileOutput::Embedding(embedding))
}

fn as_text(file: &Path, output: &FileOutput) -> String {
    let image = output.image();
    let file = terminal_text(&file.display().to_string());
    let truncated = if image.is_truncated { ", truncated" } else { "" };
    let mut text = format!("{file} ({}, {}x{}{truncated})\n", image.format, image.width, image.height);
    match output {
        FileOutput::Prediction(prediction) => {
            for class in &prediction.classes {
                let label = terminal_text(&class.label);
                text.push_str(&format!("  {:>6.2} %  {label} ({})\n", class.probability * 100.0, class.class_id));
            }
        }
        FileOutput::Embedding(embedding) => {
            let first = embedding.values.iter().take(SHOWN_DIMENSIONS).map(|value| format!("{value:.4}"));
            let first = first.collect::<Vec<_>>().join(", ");
            let dimensions = embedding.values.len();
            text.push_str(&format!("  embedding of {dimensions} dimensions: {first}, ...; --json prints all\n"));
        }
    }
    text
}

fn as_json(classifier: &Classifier, file: &Path, output: &FileOutput) -> String {
    let (model, image) = (classifier.model(), output.image());
    let mut line = json!({
        "file": file.display().to_string(),
        "model": {"name": model.name(), "version": model.version(), "digest": model.digest()},
        "image": {"format": image.format.to_string(), "width": image.width, "height": image.height},
    });
    if image.is_truncated {
        line["image"]["truncated"] = json!(true);
    }
    match output {
        FileOutput::Prediction(prediction) => {
            let class = |c: &Class| json!({"label": &*c.label, "class_id": c.class_id, "probability": c.probability});
            line["predictions"] = prediction.classes.iter().map(class).collect();
        }
        FileOutput::Embedding(embedding) => line["embedding"] = json!(embedding.values),
    }
    format!("{line}\n")
}
