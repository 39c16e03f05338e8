//! The writer thread. It writes all queued messages in one transaction, so that concurrent requests share one flush to the disk.

mod feedback;
mod monitor;
mod predictions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kiln_runtime::telemetry::metrics::{self, RecordKind};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::database::{self, FileIdentity, FolderLock};
use crate::error::{FeedbackError, OpenError};
use crate::image_store::ImageStore;
use crate::queue::{Message, QueuedImage, QueuedPrediction, Reply};
use crate::record::{Feedback, ModelIdentity};
use feedback::AppliedFeedback;
use monitor::ModelMonitor;
use predictions::WindowPositions;

/// Maximum number of messages in one transaction: feedback waits for the whole transaction.
const MAX_BATCH: usize = 512;

/// How long predictions are collected before a transaction. Feedback that arrives meanwhile waits no longer than this.
const COLLECT_TIME: Duration = Duration::from_millis(20);

/// How often expired records are deleted while there is traffic. Without traffic, the ticks of the store do it.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);

/// Reported if the folder was removed: SQLite would still accept writes to the removed file, and they would be lost.
const FILE_REPLACED: &str =
    "the database file was removed or replaced while it was open; restart the server to create a new one";

/// Writes predictions and feedback, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: Connection,
    prediction_retention_count: usize,
    prediction_retention: Duration,
    images: ImageStore,
    /// Number of predictions without feedback.
    unlabelled: usize,
    /// By the row of the model.
    monitors: BTreeMap<i64, ModelMonitor>,
    /// Whether a commit waits until the data is on the disk.
    is_durable: bool,
    /// When all expired records were last deleted; absent if some may be left.
    last_expiry: Option<Instant>,
    identity: FileIdentity,
    _lock: FolderLock,
}

/// A part of a transaction.
#[derive(Debug)]
enum Operation {
    /// Inserts a prediction, of the model with this row.
    Insert(QueuedPrediction, i64),
    /// Stores feedback.
    Label(Feedback),
}

/// The effects of a transaction, to be published after its commit.
#[derive(Debug, Default)]
struct Effects {
    /// Row of the model, class id and probability of each new prediction.
    predictions: Vec<(i64, u32, f32)>,
    /// The result of each feedback, in order.
    feedback: Vec<Result<AppliedFeedback, FeedbackError>>,
}

impl Writer {
    /// Opens the folder, and removes what a killed process left behind.
    pub(crate) fn open(config: &Config) -> Result<Self, OpenError> {
        let (mut connection, lock) = database::open(&config.data_dir)?;
        let identity =
            FileIdentity::new(&config.data_dir).map_err(|error| OpenError::folder(&config.data_dir, error))?;
        let images = ImageStore::open(config, &mut connection)?;
        let unlabelled =
            predictions::count_unlabelled(&connection).map_err(|error| OpenError::database(&config.data_dir, error))?;
        Ok(Self {
            connection,
            prediction_retention_count: config.prediction_retention_count,
            prediction_retention: config.prediction_retention,
            images,
            unlabelled,
            monitors: BTreeMap::new(),
            is_durable: true,
            last_expiry: None,
            identity,
            _lock: lock,
        })
    }

    /// Writes messages until it receives [`Message::Close`] or all senders are dropped.
    pub(crate) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(first) = messages.blocking_recv() {
            if matches!(first, Message::Prediction(_)) {
                // No client waits for a prediction, so further messages can join its transaction.
                std::thread::sleep(COLLECT_TIME);
            }
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH {
                let Ok(message) = messages.try_recv() else { break };
                batch.push(message);
            }
            if batch.iter().any(|message| matches!(message, Message::Close)) {
                // Messages that are already queued are still received; new ones are refused.
                messages.close();
            }
            self.process(batch);
        }
        // The last connection to close is a reader, which cannot checkpoint.
        let checkpoint = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = checkpoint {
            tracing::warn!(%error, "the log of the database is left for the next start");
        }
    }

    /// Writes a batch in order, in one transaction, and then replies to the clients.
    fn process(&mut self, batch: Vec<Message>) {
        let (mut operations, mut replies): (Vec<Operation>, Vec<Reply>) = (Vec::new(), Vec::new());
        for message in batch {
            match message {
                Message::Model(model) => {
                    self.model_row(&model, true);
                }
                Message::Prediction(prediction) => match self.model_row(&prediction.model, false) {
                    Some(model) => operations.push(Operation::Insert(prediction, model)),
                    None => metrics::record_dropped(RecordKind::Prediction, "failed", 1),
                },
                Message::Feedback(feedback, reply) => {
                    operations.push(Operation::Label(feedback));
                    replies.push(reply);
                }
                Message::Tick | Message::Close => {}
            }
        }
        // A tick checks this too, so that the log reports it before the first feedback is refused.
        let applied = if self.identity.is_current() {
            self.apply(&operations, !replies.is_empty()).map_err(|error| error.to_string())
        } else {
            Err(FILE_REPLACED.to_string())
        };
        match applied {
            Ok(effects) => self.publish(effects, replies),
            Err(error) => {
                let predictions = operations.len() - replies.len();
                tracing::error!(%error, predictions, feedback = replies.len(), "feedback and predictions cannot be stored");
                self.images.on_rollback();
                metrics::record_dropped(RecordKind::Prediction, "failed", predictions);
                metrics::record_dropped(RecordKind::Feedback, "failed", replies.len());
                for reply in replies {
                    // The send fails if the client has disconnected.
                    let _ = reply.send(Err(FeedbackError::Unavailable));
                }
            }
        }
    }

    /// Runs the operations, and deletes excess and expired records, in one transaction.
    fn apply(&mut self, operations: &[Operation], has_feedback: bool) -> rusqlite::Result<Effects> {
        // Predictions are not acknowledged, so a commit without feedback need not wait for the disk.
        self.set_durable(has_feedback)?;
        let (now, mut effects) = (SystemTime::now(), Effects::default());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut positions: BTreeMap<i64, WindowPositions> = BTreeMap::new();
        for operation in operations {
            match operation {
                Operation::Insert(prediction, model) => {
                    let store = |image: &QueuedImage| self.images.insert(&transaction, &image.bytes, image.extension);
                    let image = prediction.image.as_ref().map(store).transpose()?.flatten();
                    if predictions::insert(&transaction, prediction, *model, image)? {
                        let (class_id, probability) = prediction.classes[0];
                        let positions = positions.entry(*model).or_insert_with(|| {
                            let monitor = &self.monitors[model];
                            WindowPositions {
                                reference_count: monitor.reference_count(),
                                next_number: monitor.next_number(),
                            }
                        });
                        positions.insert(&transaction, *model, (class_id, probability))?;
                        effects.predictions.push((*model, class_id, probability));
                    }
                }
                Operation::Label(feedback) => effects.feedback.push(feedback::apply(&transaction, feedback, now)?),
            }
        }
        let newly_labelled = effects.feedback.iter().flatten().filter(|applied| !applied.receipt.replaced).count();
        let unlabelled = (self.unlabelled + effects.predictions.len()).saturating_sub(newly_labelled);
        let excess = unlabelled.saturating_sub(self.prediction_retention_count);
        let mut deleted = predictions::delete_excess(&transaction, excess)?;
        let is_expiry_due = self.last_expiry.is_none_or(|last| last.elapsed() >= EXPIRY_INTERVAL);
        let mut has_more = false;
        if is_expiry_due {
            let (expired, has_more_predictions) =
                predictions::delete_expired(&transaction, now, self.prediction_retention)?;
            has_more = self.images.evict_expired(&transaction, now)? || has_more_predictions;
            deleted += expired;
        }
        self.images.evict_excess(&transaction)?;
        transaction.commit()?;
        self.unlabelled = unlabelled.saturating_sub(deleted);
        if is_expiry_due {
            self.last_expiry = (!has_more).then(Instant::now);
        }
        Ok(effects)
    }

    /// Sets whether a commit waits until the data is on the disk.
    fn set_durable(&mut self, is_durable: bool) -> rusqlite::Result<()> {
        if self.is_durable != is_durable {
            self.connection.pragma_update(None, "synchronous", if is_durable { "FULL" } else { "NORMAL" })?;
            self.is_durable = is_durable;
        }
        Ok(())
    }

    /// Publishes the effects of a committed transaction: deletes files, updates windows and metrics, and replies last, so that
    /// a client that has its reply sees the updated metrics.
    fn publish(&mut self, effects: Effects, replies: Vec<Reply>) {
        self.images.on_commit();
        let mut changed = Vec::new();
        for (model, class_id, probability) in effects.predictions {
            let Some(monitor) = self.monitors.get_mut(&model) else { continue };
            monitor.add_prediction(class_id, probability);
            changed.push(model);
        }
        for applied in effects.feedback.iter().flatten() {
            let model = applied.model;
            // A monitor that is loaded now reads this feedback from the database.
            if let Some(monitor) = self.monitors.get_mut(&model) {
                monitor.add_feedback(applied.time, applied.prediction, applied.is_right);
            } else if let Err(error) = self.load_monitor(model) {
                tracing::warn!(%error, "accuracy of a model cannot be loaded");
            }
            if let Some(monitor) = self.monitors.get(&model) {
                monitor.count_feedback(applied.receipt.kind);
            }
            changed.push(model);
        }
        changed.sort_unstable();
        changed.dedup();
        let now = Instant::now();
        let changed = self.monitors.iter_mut().filter(|(model, _)| changed.contains(model));
        changed.for_each(|(_, monitor)| monitor.mark_changed());
        self.monitors.values_mut().for_each(|monitor| monitor.publish_if_due(now));
        for (reply, result) in replies.into_iter().zip(effects.feedback) {
            // The send fails if the client has disconnected.
            let _ = reply.send(result.map(|applied| applied.receipt));
        }
    }

    /// Returns the row of a model, and monitors the model from then on. If the model `starts` to be served, it becomes the
    /// served one of its name and version. If the database fails, logs that and returns nothing.
    fn model_row(&mut self, model: &Arc<ModelIdentity>, starts: bool) -> Option<i64> {
        let known = self.monitors.iter().find(|(_, monitor)| monitor.is_of(model));
        if let Some((row, _)) = known.filter(|(_, monitor)| !starts || monitor.is_served()) {
            return Some(*row);
        }
        let registered =
            ModelMonitor::register(&mut self.connection, model).and_then(|row| self.load_monitor(row).map(|()| row));
        let row = registered.inspect_err(|error| tracing::error!(%error, "model cannot be registered")).ok()?;
        let same_name = self.monitors.iter_mut().filter(|(_, monitor)| monitor.has_name_of(model));
        same_name.for_each(|(other, monitor)| monitor.set_served(*other == row));
        Some(row)
    }

    /// Loads the monitor of the model with this row, if it is not loaded yet.
    fn load_monitor(&mut self, row: i64) -> rusqlite::Result<()> {
        if !self.monitors.contains_key(&row) {
            let monitor = ModelMonitor::load(&self.connection, row)?;
            self.monitors.insert(row, monitor);
            // Creating the metrics of a model resets the series of its name and version, which may belong to another model.
            self.monitors.values().for_each(ModelMonitor::publish);
        }
        Ok(())
    }
}
