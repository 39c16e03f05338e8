//! `kiln predict PATH...`: classifies files without a server, with the same classifier.

mod answers;
mod error;
mod file_classifier;

use std::cell::Cell;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt, stream};
use indicatif::ProgressBar;
use kiln_classifier::Classifier;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::shutdown::{self, ShutdownRequest};
use model_import::import::terminal_text;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::error_output::print_error;
use super::load;
use super::progress;
use super::start::init_logging;
use crate::config::Config;
use crate::predict::{
    EarlierFiles, ImageFile, ImageFiles, Output, PredictRequest, ResultsFile, ResultsFormat, ResultsWriter, Row,
    write_parquet,
};
use answers::Answers;
pub use error::PredictError;
use file_classifier::FileClassifier;

/// Minimum number of files for a progress bar.
const MIN_FILES_FOR_PROGRESS: u64 = 8;

/// Maximum number of files that are listed ahead.
const LISTED_FILES: usize = 256;

/// Maximum time for a failed engine to end.
const MAX_SHUTDOWN: Duration = Duration::from_secs(5);

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
    let readiness = Readiness::starting();
    let (classifier, worker) = load::classifier(&config, model, engines, readiness.clone())?;
    let outcome = predict_all(&classifier, &config, files, &request, &readiness).await;
    drop(classifier);
    match outcome {
        // The thread of a hung engine never ends.
        Err(PredictError::Engine(_)) => drop(tokio::time::timeout(MAX_SHUTDOWN, worker.shutdown()).await),
        _ => worker.shutdown().await,
    }
    outcome
}

/// How many files have an answer.
#[derive(Clone, Copy, Default)]
struct Counts {
    total: usize,
    failed: usize,
}

impl Counts {
    /// Writes a row and counts it.
    fn add(&mut self, answers: &mut Answers, row: &Row, bar: &ProgressBar) -> Result<(), PredictError> {
        answers.write(row, bar)?;
        self.total += 1;
        bar.inc(1);
        if row.result.is_err() {
            self.failed += 1;
            bar.set_message(format!(", {} failed", self.failed));
        }
        Ok(())
    }
}

async fn predict_all(
    classifier: &Classifier,
    config: &Config,
    files: ImageFiles,
    request: &PredictRequest,
    readiness: &Readiness,
) -> Result<(), PredictError> {
    let (mut answers, earlier) = Answers::open(&request.output, classifier, request.top_k)?;
    let signals = stop_requests(&request.output)?;
    let started = Instant::now();
    let bar = progress::hidden_bar("{bar:40} {pos}/{len} images, {per_sec}, {eta} left{msg}");
    count(&files, &earlier.files, &bar);
    let (files, listing) = list(files, earlier.files);
    let worker = FileClassifier::new(classifier, config, request);
    let answered = tokio::select! {
        biased;
        // A hung engine gives its images no result, so the next row may never come.
        reason = readiness.wait_for_failure() => Err(PredictError::Engine(reason)),
        answered = answer_all(&worker, files, &mut answers, &bar, signals) => answered,
    };
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
        print_error(terminal_text(&text));
    }
    Ok(())
}

/// Writes the answer for each file, in the order of the files. A signal stops it after the images in progress, a second signal at
/// once. Returns the signal if a file may be left.
async fn answer_all(
    worker: &FileClassifier<'_>,
    files: impl Stream<Item = ImageFile>,
    answers: &mut Answers,
    bar: &ProgressBar,
    mut signals: mpsc::Receiver<ShutdownRequest>,
) -> Result<(Counts, Option<ShutdownRequest>), PredictError> {
    let (stop_listing, is_listed) = (Notify::new(), Cell::new(false));
    // Polled after the last file, unless the listing is stopped before.
    let end = stream::poll_fn(|_| {
        is_listed.set(true);
        Poll::Ready(None)
    });
    // The next file may take long to find, so the listing is stopped while it waits for that file too.
    let answered = files
        .chain(end)
        .take_until(stop_listing.notified())
        .map(|file| worker.classify(file))
        .buffered(worker.max_waiting());
    let mut answered = pin!(answered);
    let (mut counts, mut stopped, mut is_skipping) = (Counts::default(), None, false);
    loop {
        let answer = tokio::select! {
            biased;
            Some(signal) = signals.recv() => {
                if stopped.replace(signal).is_some() {
                    return Ok((counts, stopped));
                }
                worker.stop();
                stop_listing.notify_one();
                bar.set_message("; finishing the images in progress");
                continue;
            }
            answer = answered.next() => answer,
        };
        let Some(answer) = answer else { break };
        match answer? {
            Some(row) => counts.add(answers, &row, bar)?,
            None => is_skipping = true,
        }
    }
    let is_complete = is_listed.get() && !is_skipping;
    Ok((counts, stopped.filter(|_| !is_complete)))
}

/// Converts the rows to Parquet if the results file has that format.
async fn convert(results: &ResultsFile) -> Result<(), PredictError> {
    if results.format != ResultsFormat::Parquet {
        return Ok(());
    }
    let (rows, path) = (results.rows_path(), results.path.clone());
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
fn list(files: ImageFiles, earlier: EarlierFiles) -> (impl Stream<Item = ImageFile>, JoinHandle<()>) {
    let (sender, mut listed) = mpsc::channel(LISTED_FILES);
    let listing = spawn_blocking(move || {
        // Fails if the run has stopped.
        let _ = without_earlier(&files, earlier).try_for_each(|file| sender.blocking_send(file));
    });
    (stream::poll_fn(move |context| listed.poll_recv(context)), listing)
}

fn without_earlier(files: &ImageFiles, mut earlier: EarlierFiles) -> impl Iterator<Item = ImageFile> {
    files.walk().filter(move |file| !earlier.take(&file.name))
}

/// Counts the files for the bar on a thread, and shows the bar if there are several. Without a terminal it does nothing.
fn count(files: &ImageFiles, earlier: &EarlierFiles, bar: &ProgressBar) {
    if !progress::is_shown() {
        return;
    }
    let (files, earlier, bar) = (files.clone(), earlier.clone(), bar.clone());
    spawn_blocking(move || {
        let mut total = 0;
        for _ in without_earlier(&files, earlier).take_while(|_| !bar.is_finished()) {
            total += 1;
            if total == MIN_FILES_FOR_PROGRESS {
                progress::show(&bar);
            }
        }
        bar.set_length(total);
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kiln_image::DecodePool;
    use kiln_inference::model::Model;

    use super::*;
    use crate::config::Sources;

    /// Answers files until the listing ends or a signal arrives. The answers are errors, so no image is decoded.
    async fn answer(
        files: impl Stream<Item = ImageFile>,
        signals: mpsc::Receiver<ShutdownRequest>,
    ) -> (Counts, Option<ShutdownRequest>) {
        let sources = Sources::gather(&BTreeMap::new(), &|_: &str| None, None).unwrap();
        let config = Config::without_serving(&sources).unwrap();
        let (model, pool) = (Model::all().next().unwrap(), DecodePool::new(1).unwrap());
        let (classifier, _worker) = kiln_classifier::test_support::idle(model, config.batching.clone(), pool);
        let (paths, output) = (Vec::new(), Output::Text);
        let request = PredictRequest { paths, recursive: false, top_k: None, threshold: None, output };
        let worker = FileClassifier::new(&classifier, &config, &request);
        let (mut answers, bar) = (Answers::Text, ProgressBar::hidden());
        let answered = answer_all(&worker, files, &mut answers, &bar, signals);
        tokio::time::timeout(Duration::from_secs(60), answered).await.expect("the signal ends the run").unwrap()
    }

    #[tokio::test]
    async fn signal_ends_the_run_while_files_are_listed() {
        let (sender, signals) = mpsc::channel(1);
        sender.send(ShutdownRequest::Interrupt).await.unwrap();
        let (_, stopped) = answer(stream::pending(), signals).await;
        assert_eq!(stopped, Some(ShutdownRequest::Interrupt));
    }

    #[tokio::test]
    async fn signal_after_the_last_file_does_not_count() {
        let (sender, signals) = mpsc::channel(1);
        let end = stream::poll_fn(|_| {
            // Fails if the end is polled again.
            let _ = sender.try_send(ShutdownRequest::Interrupt);
            Poll::Ready(None)
        });
        let file = ImageFile { name: "a.jpg".to_string(), source: Err("no".to_string()) };
        let (counts, stopped) = answer(stream::iter([file]).chain(end), signals).await;
        assert_eq!((counts.total, counts.failed, stopped), (1, 1, None));
    }
}
