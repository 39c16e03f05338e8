//! The handle: everything that the rest of the server does with what is recorded.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::choice::Choice;
use super::reader::{ReadError, Reader};
use super::record::{Feedback, FeedbackError, ModelFacts, Receipt};
use super::recorder::{Pictures, Recorder, WaitingBytes};
use super::summary::Summary;
use super::writer::{Message, Writer};
use super::{Config, OpenError};
use kiln_inference::model::Model;
use kiln_runtime::telemetry::metrics;

/// Messages that wait for the writer. Feedback waits for a place, predictions do not.
const QUEUE: usize = 8192;
/// How often it is looked whether something is too old.
const TICK: Duration = Duration::from_secs(60);

/// What was recorded, and the way to record more. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    messages: mpsc::Sender<Message>,
    /// Absent where no picture is kept.
    pictures: Option<Pictures>,
    reader: Arc<Mutex<Reader>>,
    /// One summary at a time: it takes a thread.
    turns: Arc<Semaphore>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Store {
    /// Opens the folder and starts the thread that writes. It waits for the disk, so it is not for an async thread.
    ///
    /// # Errors
    ///
    /// The folder cannot be used: another server has it, a newer program has written it, it is damaged or not writable.
    ///
    /// # Panics
    ///
    /// The system has no thread to give.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        metrics::init_feedback();
        let writer = Writer::open(config)?;
        let reader = Reader::open(&config.folder)?;
        let (messages, received) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("kiln-feedback".to_string());
        let thread = thread.spawn(move || writer.run(received)).expect("the system has threads to give at start");
        Ok(Self {
            messages,
            pictures: Choice::of(config).map(|choice| Pictures { choice, waiting: WaitingBytes::default() }),
            reader: Arc::new(Mutex::new(reader)),
            turns: Arc::new(Semaphore::new(1)),
            writer: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// What takes down the predictions of `model`.
    pub fn recorder(&self, model: &Model) -> Recorder {
        let spec = model.spec();
        let labels = spec.labels.iter().map(ToString::to_string).collect();
        self.recorder_of(ModelFacts::new(spec.name, model.version(), &model.digest(), labels))
    }

    pub(super) fn recorder_of(&self, model: ModelFacts) -> Recorder {
        let model = Arc::new(model);
        // So that its metrics are there before its first prediction. That prediction brings the model along again.
        let _ = self.messages.try_send(Message::Model(Arc::clone(&model)));
        Recorder { model, messages: self.messages.clone(), pictures: self.pictures.clone() }
    }

    /// Stores feedback. When this returns, it will be there after a crash and a loss of power too.
    ///
    /// # Errors
    ///
    /// See [`FeedbackError`].
    pub async fn give(&self, feedback: Feedback) -> Result<Receipt, FeedbackError> {
        let (reply, receipt) = oneshot::channel();
        let sent = self.messages.send(Message::Feedback(feedback, reply)).await;
        sent.map_err(|_| FeedbackError::Unavailable)?;
        receipt.await.unwrap_or(Err(FeedbackError::Unavailable))
    }

    /// How good the last `window` judged predictions of a model were: of the one that was served last by that name and version.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub async fn summary(&self, name: &str, version: &str, window: usize) -> Result<Summary, ReadError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("nobody closes it");
        let (reader, name, version) = (Arc::clone(&self.reader), name.to_string(), version.to_string());
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            reader.lock().unwrap_or_else(PoisonError::into_inner).summary(&name, &version, window)
        });
        reading.await.unwrap_or(Err(ReadError::Ended))
    }

    /// Has what is too old let go while nothing else happens. Returns when the store is closed.
    pub async fn keep_up(self) {
        let messages = self.messages.downgrade();
        // What is held here would keep the thread from its end.
        drop(self);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(messages) = messages.upgrade().filter(|messages| !messages.is_closed()) else { return };
            // Where there is no room there is traffic, and transactions look by themselves.
            let _ = messages.try_send(Message::Tick);
        }
    }

    /// Writes what waits and ends the thread. What comes later is refused.
    pub async fn close(&self) {
        let _ = self.messages.send(Message::End).await;
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the thread that writes feedback panicked");
            }
        }
    }
}
