//! The handle to the feedback store, with which the server records predictions, stores feedback and reads summaries.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use kiln_runtime::telemetry::metrics;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::config::Config;
use crate::error::{FeedbackError, OpenError, ReadError};
use crate::queue::Message;
use crate::reader::Reader;
use crate::record::{Feedback, ModelIdentity, Receipt};
use crate::recorder::{ImageQueue, Recorder};
use crate::summary::Summary;
use crate::writer::Writer;

/// Capacity of the queue to the writer. If the queue is full, feedback waits and predictions are dropped.
const QUEUE_CAPACITY: usize = 8192;
/// How often the writer looks for expired records while there is no traffic.
const TICK_INTERVAL: Duration = Duration::from_secs(60);

/// The feedback store of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FeedbackStore {
    messages: mpsc::Sender<Message>,
    /// Absent if no images are stored.
    images: Option<ImageQueue>,
    reader: Arc<Mutex<Reader>>,
    /// Allows one summary at a time, because each occupies a thread.
    summary_permit: Arc<Semaphore>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl FeedbackStore {
    /// Opens the folder and starts the writer thread. It blocks on the disk; do not call it on an async thread.
    ///
    /// # Errors
    ///
    /// The folder cannot be used: another server uses it, a newer program wrote it, it is damaged or not writable. Or
    /// the operating system refuses the thread.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        metrics::init_feedback();
        let writer = Writer::open(config)?;
        let reader = Reader::open(&config.data_dir)?;
        let (messages, received) = mpsc::channel(QUEUE_CAPACITY);
        let thread = std::thread::Builder::new().name("kiln-feedback".to_string());
        let thread = thread.spawn(move || writer.run(received)).map_err(OpenError::Thread)?;
        Ok(Self {
            messages,
            images: ImageQueue::new(config),
            reader: Arc::new(Mutex::new(reader)),
            summary_permit: Arc::new(Semaphore::new(1)),
            writer: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Creates the recorder of a model, which becomes the served one of its name and version.
    pub fn recorder(&self, model: ModelIdentity) -> Recorder {
        let model = Arc::new(model);
        // Creates the metrics before the first prediction. If the queue is full, the first prediction does that.
        let _ = self.messages.try_send(Message::Model(Arc::clone(&model)));
        Recorder { model, messages: self.messages.clone(), images: self.images.clone() }
    }

    /// Stores feedback. When this returns, the feedback survives a crash and a power failure.
    ///
    /// # Errors
    ///
    /// See [`FeedbackError`].
    pub async fn add_feedback(&self, feedback: Feedback) -> Result<Receipt, FeedbackError> {
        let (reply, receipt) = oneshot::channel();
        let sent = self.messages.send(Message::Feedback(feedback, reply)).await;
        sent.map_err(|_| FeedbackError::Unavailable)?;
        receipt.await.unwrap_or(Err(FeedbackError::Unavailable))
    }

    /// Summarises the last `window` predictions with feedback of a model. If several models had this name and version, the
    /// summary is of the one that was served last.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub async fn summary(&self, name: &str, version: &str, window: usize) -> Result<Summary, ReadError> {
        let permit = Arc::clone(&self.summary_permit).acquire_owned().await.expect("the semaphore is never closed");
        let (reader, name, version) = (Arc::clone(&self.reader), name.to_string(), version.to_string());
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            reader.lock().unwrap_or_else(PoisonError::into_inner).summary(&name, &version, window)
        });
        reading.await.unwrap_or(Err(ReadError::Cancelled))
    }

    /// Makes the writer delete expired records while there is no traffic. Returns when the store is closed.
    pub async fn run_maintenance(self) {
        let messages = self.messages.downgrade();
        // A sender held here would keep the writer thread alive.
        drop(self);
        let mut ticks = tokio::time::interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(messages) = messages.upgrade().filter(|messages| !messages.is_closed()) else { return };
            // If the queue is full, there is traffic, and each transaction checks for expired records.
            let _ = messages.try_send(Message::Tick);
        }
    }

    /// Writes all queued messages and ends the writer thread. Later feedback is refused.
    pub async fn close(&self) {
        let _ = self.messages.send(Message::Close).await;
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("feedback writer thread panicked");
            }
        }
    }
}
