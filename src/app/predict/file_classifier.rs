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

    pub(super) fn is_stopped(&self) -> bool {
        self.in_progress.is_closed()
    }

    /// Classifies a file, or computes its embedding. Returns nothing if the classifier was stopped before the file's turn.
    pub(super) async fn classify(&self, file: ImageFile) -> Option<Row> {
        let _place = self.in_progress.acquire().await.ok()?;
        let result = match file.source {
            Ok(source) => self.classify_source(source).await,
            Err(reason) => Err(reason),
        };
        Some(Row { file: file.name, result })
    }

    async fn classify_source(&self, source: ImageSource) -> Result<FileOutput, String> {
        let _memory = self.reserve(&source).await;
        let max_bytes = self.max_file_bytes;
        let read = move || match source {
            ImageSource::Path(path) => read_file(&path, max_bytes),
            ImageSource::Stdin => read_stdin(max_bytes),
        };
        let bytes = spawn_blocking(read).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let image = EncodedImage { bytes: bytes.into(), file_name: None };
        loop {
            match self.run(image.clone()).await {
                // The device is being replaced, which takes a moment, and no other server can take the file.
                Err(ClassifyError::Admit(AdmitError::Recovering) | ClassifyError::Batch(BatchError::Recovering)) => {
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                result => return result.map_err(|e| e.to_string()),
            }
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
