//! The entries of the queue, and the batches that are made of them: images, the channels for their results, and the
//! results.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Permit;
use super::queue::Queued;
use kiln_inference::{EngineError, Output, Sample};
use kiln_runtime::scheduling::Priority;
use kiln_runtime::telemetry::metrics;
use kiln_runtime::telemetry::traces::SpanLink;

/// The result of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOutput {
    /// The scores of the image.
    pub output: Output,
    /// From the submission until an engine was free.
    pub queue: Duration,
    /// From then, or from the submission if an engine was already free, until the engine began: waiting for the batch
    /// to fill, and for the engine's thread.
    pub batch_wait: Duration,
    /// How long the engine took for the whole batch.
    pub inference: Duration,
    /// The number of images in the batch.
    pub batch_size: usize,
}

/// Why an admitted image has no result. None of these is the client's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The deadline passed before an engine was free; the image was not run.
    #[error("the deadline passed after {queued:?} in the queue")]
    DeadlinePassed {
        /// How long the image waited.
        queued: Duration,
        /// When the queue is expected to be short again: an estimate, at least one second.
        retry_after: Duration,
    },
    /// The engine failed on the batch of this image, or could not be replaced while the image waited.
    #[error(transparent)]
    Failed(#[from] EngineError),
    /// The scores of this image are not finite, although the device passes its self-test. The model's weights are
    /// probably corrupt.
    #[error("the model's scores of this image are not finite")]
    NotFinite,
    /// The engines failed while the image waited; it was not run.
    #[error("the device failed and is being replaced")]
    Recovering,
    /// The batcher was shut down before it accepted the image.
    #[error("the batcher is shutting down")]
    Closed,
}

/// An image that waits for an engine.
#[derive(Debug)]
pub(super) struct Entry {
    /// Unique, and larger than those of the entries that were submitted before.
    pub(super) id: u64,
    pub(super) priority: Priority,
    pub(super) deadline: Option<Instant>,
    /// The maximum number of classes that the client needs, or all. The result may contain more.
    pub(super) top_k: Option<usize>,
    pub(super) sample: Sample,
    pub(super) responder: Responder,
}

/// Sends the result of one image.
#[derive(Debug)]
pub(super) struct Responder {
    pub(super) result: oneshot::Sender<Result<BatchOutput, BatchError>>,
    pub(super) permit: Permit,
    pub(super) arrived: Instant,
    /// The link to the request that contains the image.
    pub(super) link: SpanLink,
}

impl Responder {
    /// Returns whether the receiver was dropped.
    pub(super) fn is_cancelled(&self) -> bool {
        self.result.is_closed()
    }

    /// Sends the result. Does nothing if the receiver was dropped.
    pub(super) fn respond(self, result: Result<BatchOutput, BatchError>) {
        // The permit is dropped first, so that a client that has its result finds a free place for the next image.
        drop(self.permit);
        let _ = self.result.send(result);
    }
}

impl Queued for Entry {
    fn id(&self) -> u64 {
        self.id
    }

    fn arrived(&self) -> Instant {
        self.responder.arrived
    }

    fn priority(&self) -> Priority {
        self.priority
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn is_cancelled(&self) -> bool {
        self.responder.is_cancelled()
    }
}

/// Images and their responders, in the same order.
#[derive(Debug)]
pub(super) struct Batch {
    samples: Vec<Sample>,
    responders: Vec<Responder>,
    /// Since when an engine had been idle.
    idle_since: Instant,
    top_k: Option<usize>,
}

impl Batch {
    pub(super) fn new(entries: Vec<Entry>, idle_since: Instant) -> Self {
        // The largest number that an entry needs; all classes if an entry needs all.
        let top_k = entries.iter().map(|entry| entry.top_k).reduce(|one, other| one.zip(other).map(|(a, b)| a.max(b)));
        let (samples, responders) = entries.into_iter().map(|entry| (entry.sample, entry.responder)).unzip();
        Self { samples, responders, idle_since, top_k: top_k.flatten() }
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Returns how many classes of each image are needed, or nothing if all are.
    pub(super) fn top_k(&self) -> Option<usize> {
        self.top_k
    }

    pub(super) fn len(&self) -> usize {
        self.responders.len()
    }

    /// Takes the links to those requests of the images that are recorded.
    pub(super) fn take_links(&mut self) -> Vec<SpanLink> {
        let links = self.responders.iter_mut().map(|responder| std::mem::take(&mut responder.link));
        links.filter(SpanLink::is_recorded).collect()
    }

    /// Returns how many rows are not finite although Kiln preprocessed their images itself.
    pub(super) fn count_not_finite(&self, rows: &[Output]) -> usize {
        self.samples.iter().zip(rows).filter(|(sample, row)| is_invalid(sample, row)).count()
    }

    /// Sends each row to the responder of its image. `rows` has one row per image. The engine began at `started` and
    /// took `inference` for all rows.
    pub(super) fn respond(self, rows: Vec<Output>, started: Instant, inference: Duration) {
        debug_assert_eq!(rows.len(), self.responders.len());
        let batch_size = self.responders.len();
        for ((responder, sample), output) in self.responders.into_iter().zip(&self.samples).zip(rows) {
            if responder.is_cancelled() {
                metrics::cancelled("device");
            }
            if is_invalid(sample, &output) {
                responder.respond(Err(BatchError::NotFinite));
                continue;
            }
            let queue_end = responder.arrived.max(self.idle_since);
            let (queue, batch_wait) = (queue_end - responder.arrived, started.duration_since(queue_end));
            responder.respond(Ok(BatchOutput { output, queue, batch_wait, inference, batch_size }));
        }
    }

    /// Sends the engine's error to every responder.
    pub(super) fn fail(self, error: &EngineError) {
        for responder in self.responders {
            responder.respond(Err(BatchError::Failed(error.clone())));
        }
    }
}

/// Returns whether a row is not finite. The rows of tensors are not checked, since a client's tensor may not be finite
/// itself.
fn is_invalid(sample: &Sample, row: &Output) -> bool {
    !matches!(sample, Sample::Tensor(_)) && !row.is_finite()
}

/// How often something happened, and its total duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationStats {
    /// The number of times.
    pub count: u64,
    /// The total duration.
    pub total: Duration,
}

impl DurationStats {
    /// Adds one occurrence.
    pub fn record(&mut self, duration: Duration) {
        self.count += 1;
        self.total += duration;
    }
}

/// The successful runs of the engines since the start, by batch size.
#[derive(Debug, Default)]
pub(super) struct BatchStatistics(Mutex<BTreeMap<usize, DurationStats>>);

impl BatchStatistics {
    pub(super) fn record(&self, batch_size: usize, took: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(batch_size).or_default().record(took);
    }

    pub(super) fn by_batch_size(&self) -> BTreeMap<usize, DurationStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
