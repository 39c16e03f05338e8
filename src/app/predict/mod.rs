//! `kiln predict PATH...`: classifies files without a server, with the same classifier.

mod answers;
mod error;
mod file_classifier;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{Stream, StreamExt, future, stream};
use indicatif::ProgressBar;
use kiln_classifier::Classifier;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::shutdown::{self, ShutdownRequest};
use model_import::import::terminal_text;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::load;
use super::progress;
use super::start::init_logging;
use crate::config::Config;
use crate::predict::{
    FileSet, ImageFile, ImageFiles, Output, PredictRequest, ResultsFile, ResultsFormat, ResultsWriter, write_parquet,
};
use answers::Answers;
pub use error::PredictError;
use file_classifier::FileClassifier;

/// Minimum number of files for a progress bar.
const MIN_FILES_FOR_PROGRESS: u64 = 8;

/// Maximum number of files that are listed ahead.
const LISTED_FILES: usize = 256;

/// Classifies files, and prints the answers or writes them to a results file.
///
/// # Errors
///
/// Returns an error if the model cannot be loaded or if a file cannot be classified.
pub async fn predict(config: Config, request: PredictRequest) -> Result<(), PredictError> {
    let _log_guard = init_logging(&config)?;
    // These errors come before the model is loaded.
    if let Output::File(results) = &request.output {
        ResultsWriter::check(results)?;
    }
    let files = ImageFiles { paths: request.paths.clone(), recursive: request.recursive };
    if files.walk().next().is_none() {
        return Err(PredictError::no_images(&files));
    }
    let (model, engines) = load::start_engines(&config).await?;
    let (classifier, worker) = load::classifier(&config, model, engines, Readiness::starting())?;
    let outcome = predict_all(&classifier, &config, files, &request).await;
    drop(classifier);
    worker.shutdown().await;
    outcome
}

/// How many files have an answer.
#[derive(Clone, Copy, Default)]
struct Counts {
    total: usize,
    failed: usize,
}

async fn predict_all(
    classifier: &Classifier,
    config: &Config,
    files: ImageFiles,
    request: &PredictRequest,
) -> Result<(), PredictError> {
    let (mut answers, earlier) = Answers::open(&request.output, classifier, request.top_k)?;
    let signals = stop_requests(&request.output)?;
    let started = Instant::now();
    let bar = progress::hidden_bar("{bar:40} {pos}/{len} images, {per_sec}, {eta} left{msg}");
    let earlier_files = Arc::new(earlier.files);
    count(&files, &earlier_files, &bar);
    let (files, listing) = list(files, earlier_files);
    let worker = FileClassifier::new(classifier, config, request);
    let answered = answer_all(&worker, files, &mut answers, &bar, signals).await;
    bar.finish_and_clear();
    let (counts, stopped) = answered?;
    if let (Some(signal), Output::File(results)) = (stopped, &request.output) {
        return Err(PredictError::Stopped { signal, path: results.path.clone() });
    }
    listing.await.map_err(PredictError::Listing)?;
    if let Output::File(results) = &request.output {
        convert(results).await?;
    }
    let all = Counts { total: counts.total + earlier.count, failed: counts.failed + earlier.failed };
    if all.failed > 0 {
        return Err(PredictError::files(all.failed, all.total, &request.output));
    }
    if let Output::File(results) = &request.output {
        let seconds = started.elapsed().as_secs_f64();
        let rate = counts.total as f64 / seconds.max(f64::EPSILON);
        let text = format!(
            "classified {} files in {seconds:.1} s ({rate:.1} images/s); {} has {} rows",
            counts.total,
            results.path.display(),
            all.total
        );
        eprintln!("{}", terminal_text(&text));
    }
    Ok(())
}

/// Writes the answer for each file, in the order of the files. A signal stops it after the images in progress, a second signal at
/// once. Returns the signal.
async fn answer_all(
    worker: &FileClassifier<'_>,
    files: impl Stream<Item = ImageFile>,
    answers: &mut Answers,
    bar: &ProgressBar,
    mut signals: mpsc::Receiver<ShutdownRequest>,
) -> Result<(Counts, Option<ShutdownRequest>), PredictError> {
    let rows = files
        .take_while(|_| future::ready(!worker.is_stopped()))
        .map(|file| worker.classify(file))
        .buffered(worker.max_waiting())
        .filter_map(future::ready);
    let mut rows = pin!(rows);
    let (mut counts, mut stopped) = (Counts::default(), None);
    loop {
        let row = tokio::select! {
            biased;
            Some(signal) = signals.recv() => {
                if stopped.replace(signal).is_some() {
                    break;
                }
                worker.stop();
                bar.set_message("; finishing the images in progress");
                continue;
            }
            row = rows.next() => row,
        };
        let Some(row) = row else { break };
        answers.write(&row, bar)?;
        counts.total += 1;
        bar.inc(1);
        if row.result.is_err() {
            counts.failed += 1;
            bar.set_message(format!(", {} failed", counts.failed));
        }
    }
    Ok((counts, stopped))
}

/// Writes the results file from the rows, if it has another format than they.
async fn convert(results: &ResultsFile) -> Result<(), PredictError> {
    if results.format != ResultsFormat::Parquet {
        return Ok(());
    }
    let (rows, path) = (results.rows(), results.path.clone());
    spawn_blocking(move || write_parquet(&rows, &path)).await.map_err(PredictError::Converting)??;
    Ok(())
}

/// Returns the signals that stop a run with a results file in order. Without such a file, a signal ends the process, as usual.
fn stop_requests(output: &Output) -> Result<mpsc::Receiver<ShutdownRequest>, PredictError> {
    if !matches!(output, Output::File(_)) {
        return Ok(mpsc::channel(1).1);
    }
    let (signals, listen) = shutdown::os_requests().map_err(PredictError::Signals)?;
    tokio::spawn(listen);
    Ok(signals)
}

/// Lists the files without an earlier row on a thread, since reading folders blocks.
fn list(files: ImageFiles, earlier: Arc<FileSet>) -> (impl Stream<Item = ImageFile>, JoinHandle<()>) {
    let (sender, mut listed) = mpsc::channel(LISTED_FILES);
    let listing = spawn_blocking(move || {
        // Fails if the run has stopped.
        let _ = without_earlier(&files, &earlier).try_for_each(|file| sender.blocking_send(file));
    });
    (stream::poll_fn(move |context| listed.poll_recv(context)), listing)
}

fn without_earlier(files: &ImageFiles, earlier: &FileSet) -> impl Iterator<Item = ImageFile> {
    files.walk().filter(move |file| !earlier.contains(&file.name))
}

/// Counts the files for the bar on a thread, and shows the bar if there are several. Without a terminal it does nothing.
fn count(files: &ImageFiles, earlier: &Arc<FileSet>, bar: &ProgressBar) {
    if !progress::is_shown() {
        return;
    }
    let (files, earlier, bar) = (files.clone(), Arc::clone(earlier), bar.clone());
    spawn_blocking(move || {
        let mut total = 0;
        for _ in without_earlier(&files, &earlier).take_while(|_| !bar.is_finished()) {
            total += 1;
            if total == MIN_FILES_FOR_PROGRESS {
                progress::show(&bar);
            }
        }
        bar.set_length(total);
    });
}
