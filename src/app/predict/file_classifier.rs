//! Reads files and classifies them, many at a time, with a bound on the memory of the files.

use std::io::{self, Read};
use std::time::Duration;

use kiln_classifier::{
    AdmitError, BatchError, Classifier, ClassifyError, Embedding, EncodedImage, Prediction, RequestOptions,
};
use kiln_inference::model::Task;
use model_import::import::{ReadFileError, read_file};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use super::error::PredictError;
use crate::config::Config;
use crate::predict::{FileOutput, ImageFile, ImageSource, OutputValues, PredictRequest, Row};

/// Minimum number of images in progress, as of a server with so many connections.
const MIN_IN_PROGRESS: usize = 64;

/// Number of files for each image in progress that may wait for it. An image that takes long delays the rows behind it, but not
/// their images.
const WAITING_PER_IMAGE: usize = 4;

/// Maximum memory of all encoded images in progress, in KiB. A larger file is read while no other is in progress.
const MAX_ENCODED_KIB: u32 = 256 << 10;

/// Time until the next attempt while a failed device is replaced.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Classifies files with the same options.
pub(super) struct FileClassifier<'a> {
    classifier: &'a Classifier,
    options: RequestOptions,
    max_file_bytes: u64,
    max_waiting: usize,
    /// One permit for each image that may be in progress. Closed by [`Self::stop`].
    in_progress: Semaphore,
    /// One permit for each KiB of encoded images.
    encoded_kib: Semaphore,
}

impl<'a> FileClassifier<'a> {
    pub(super) fn new(classifier: &'a Classifier, config: &Config, request: &PredictRequest) -> Self {
        let top_k = request.top_k.or(classifier.default_top_k());
        let options = RequestOptions { top_k, threshold: request.threshold, ..RequestOptions::default() };
        // Two batches for each device: one runs while the next is decoded. More than the queue holds would be rejected.
        let batches = config.batching.max_batch_size * 2 * config.inference.device.all().len();
        let in_progress = batches.max(MIN_IN_PROGRESS).min(config.batching.queue_capacity);
        Self {
            classifier,
            options,
            max_file_bytes: config.image.decode_budget.capacity(),
            max_waiting: in_progress * WAITING_PER_IMAGE,
            in_progress: Semaphore::new(in_progress),
            encoded_kib: Semaphore::new(MAX_ENCODED_KIB as usize),
        }
    }

    /// Returns the number of calls of [`Self::classify`] at a time that keep the device busy.
    pub(super) fn max_waiting(&self) -> usize {
        self.max_waiting
    }

    /// Lets [`Self::classify`] begin no further file.
    pub(super) fn stop(&self) {
        self.in_progress.close();
    }

    /// Classifies a file, or computes its embedding. Returns nothing if the classifier was stopped before the file's turn. An
    /// error that the file or its image causes is in the row.
    ///
    /// # Errors
    ///
    /// The cause is not the file, so that the other files would fail too.
    pub(super) async fn classify(&self, file: ImageFile) -> Result<Option<Row>, PredictError> {
        let Ok(_place) = self.in_progress.acquire().await else { return Ok(None) };
        let result = match file.source {
            Ok(source) => self.classify_source(source).await?,
            Err(reason) => Err(reason),
        };
        Ok(Some(Row { file: file.name, result }))
    }

    async fn classify_source(&self, source: ImageSource) -> Result<Result<FileOutput, String>, PredictError> {
        let _memory = self.reserve(&source).await;
        let max_bytes = self.max_file_bytes;
        let read = move || match source {
            ImageSource::Path(path) => read_file(&path, max_bytes),
            ImageSource::Stdin => read_stdin(max_bytes),
        };
        match spawn_blocking(read).await {
            Ok(Ok(bytes)) => self.classify_image(EncodedImage { bytes: bytes.into(), file_name: None }).await,
            Ok(Err(error)) => Ok(Err(error.to_string())),
            Err(panicked) => Err(PredictError::Engine(panicked.to_string())),
        }
    }

    async fn classify_image(&self, image: EncodedImage) -> Result<Result<FileOutput, String>, PredictError> {
        let mut failure = None;
        loop {
            let error = match self.run(image.clone()).await {
                Ok(output) => return Ok(Ok(output)),
                Err(error) => error,
            };
            match error {
                // The device is being replaced, which takes a moment, and no other server can take the file.
                ClassifyError::Admit(AdmitError::Recovering) | ClassifyError::Batch(BatchError::Recovering) => {}
                // Every image of the batch has this error, whichever image or device is the cause.
                ClassifyError::Batch(BatchError::Failed(reason)) if failure.is_none() => failure = Some(reason),
                // A decoder that panics on an image does so again.
                ClassifyError::Image(_) | ClassifyError::Batch(BatchError::NotFinite) | ClassifyError::Pool(_) => {
                    return Ok(Err(error.to_string()));
                }
                // After a failure the batcher is closed if the device cannot be replaced.
                other => {
                    let reason = failure.map_or_else(|| other.to_string(), |first| first.to_string());
                    return Err(PredictError::Engine(reason));
                }
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// Waits for the memory of a file.
    async fn reserve(&self, source: &ImageSource) -> Option<SemaphorePermit<'_>> {
        let bytes = match source {
            ImageSource::Path(path) => tokio::fs::metadata(path).await.map_or(0, |metadata| metadata.len()),
            ImageSource::Stdin => 0,
        };
        let kib = u32::try_from(bytes.min(self.max_file_bytes) / 1024 + 1).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.encoded_kib.acquire_many(kib.min(MAX_ENCODED_KIB)).await.ok()
    }

    async fn run(&self, image: EncodedImage) -> Result<FileOutput, ClassifyError> {
        let options = self.options.clone();
        if self.classifier.model().spec().task != Task::Embedding {
            let Prediction { classes, image, .. } = self.classifier.classify(image, options).await?;
            return Ok(FileOutput { image, values: OutputValues::Classes(classes) });
        }
        let mut embedding = self.classifier.embed(image, options).await?;
        embedding.normalise();
        let Embedding { values, image, .. } = embedding;
        Ok(FileOutput { image, values: OutputValues::Embedding(values) })
    }
}

/// Reads standard input, of at most `max` bytes.
fn read_stdin(max: u64) -> Result<Vec<u8>, ReadFileError> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(ReadFileError::TooLong(max)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use kiln_classifier::batching::{Batcher, Worker};
    use kiln_image::DecodePool;
    use kiln_inference::model::Model;
    use kiln_inference::{Engine, EngineError, Logits, Sample};
    use kiln_runtime::readiness::Readiness;
    use kiln_runtime::telemetry::metrics::ModelMetrics;

    use super::*;
    use crate::config::Sources;
    use crate::predict::Output;

    /// An engine whose first runs fail.
    struct FailingEngine {
        failures: usize,
        can_be_replaced: bool,
        classes: usize,
    }

    impl Engine for FailingEngine {
        fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
            if self.failures > 0 {
                self.failures -= 1;
                return Err(EngineError::Device("fault 0xdead".to_string()));
            }
            Ok(batch.iter().map(|_| Logits::from(vec![0.0; self.classes])).collect())
        }

        fn rebuild(&mut self) -> Result<(), EngineError> {
            let gone = || EngineError::Device("it is gone".to_string());
            self.can_be_replaced.then_some(()).ok_or_else(gone)
        }
    }

    fn classifier(failures: usize, can_be_replaced: bool) -> (Classifier, Worker) {
        let model = Model::all().next().unwrap();
        let engine = FailingEngine { failures, can_be_replaced, classes: model.spec().labels.len() };
        let metrics = ModelMetrics::new("model", "1");
        let config = kiln_classifier::batching::Config::default();
        let (batcher, worker) = Batcher::start(config, vec![Box::new(engine)], Readiness::starting(), metrics).unwrap();
        (Classifier::new(model, Vec::new(), Arc::default(), DecodePool::new(1).unwrap(), batcher), worker)
    }

    /// Classifies one file on an engine.
    async fn classify(path: &str, failures: usize, can_be_replaced: bool) -> Result<Row, PredictError> {
        let (classifier, _worker) = classifier(failures, can_be_replaced);
        let sources = Sources::gather(&BTreeMap::new(), &|_: &str| None, None).unwrap();
        let config = Config::without_serving(&sources).unwrap();
        let (paths, output) = (Vec::new(), Output::Text);
        let request = PredictRequest { paths, recursive: false, top_k: None, threshold: None, output };
        let file = ImageFile { name: path.to_string(), source: Ok(ImageSource::Path(path.into())) };
        let row = FileClassifier::new(&classifier, &config, &request).classify(file).await?;
        Ok(row.expect("the classifier was not stopped"))
    }

    const PHOTO: &str = "tests/data/photos/cat_451x300.jpg";

    #[tokio::test]
    async fn image_of_a_failed_batch_is_classified_by_the_replaced_device() {
        let row = classify(PHOTO, 1, true).await.unwrap();
        assert!(row.result.is_ok(), "{row:?}");
    }

    #[tokio::test]
    async fn device_that_fails_again_or_cannot_be_replaced_stops_the_run_without_a_row() {
        for (failures, can_be_replaced) in [(2, true), (1, false)] {
            let error = classify(PHOTO, failures, can_be_replaced).await.unwrap_err();
            assert!(matches!(&error, PredictError::Engine(reason) if reason.contains("0xdead")), "{error}");
            assert_eq!(error.exit_status(), 1);
        }
    }

    #[tokio::test]
    async fn errors_of_the_file_and_of_its_image_are_in_the_row() {
        for (path, part) in [("/no/such/file", "os error 2"), ("Cargo.toml", "not an image")] {
            let row = classify(path, 0, true).await.unwrap();
            assert!(row.result.as_ref().is_err_and(|reason| reason.contains(part)), "{row:?}");
        }
    }
}
