//! The thread that writes. It takes whatever waits into one transaction, so that many who wait share one flush of the disk.
//!
//! | file | responsibility |
//! |---|---|
//! | `commit.rs` | one transaction: what is in it, and what is told after it |
//! | `predictions.rs` | the rows of predictions |
//! | `judge.rs` | feedback on one prediction |
//! | `retention.rs` | what is let go |
//! | `watch.rs` | what is known of each model: its row, its windows, its metrics |

mod commit;
mod judge;
mod predictions;
mod retention;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::Config;
use super::database::{self, Lock, OpenError};
use super::pictures::Shelf;
use super::record::{Feedback, FeedbackError, ModelFacts, Receipt, Recorded};
use watch::Watch;

pub(super) use predictions::millis;

/// The most messages in one transaction: as long as it takes, feedback waits.
const MOST: usize = 512;

/// How long predictions are gathered. Feedback that comes meanwhile waits as long at most.
const GATHERED: Duration = Duration::from_millis(20);

/// What a thread is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A model is served.
    Model(Arc<ModelFacts>),
    /// It answered.
    Prediction(Recorded),
    /// Somebody says what is true, and waits to be told that it is stored.
    Feedback(Feedback, Reply),
    /// Time has passed, and something may be too old.
    Tick,
    /// Nothing more comes; what came before is written first.
    End,
}

/// Where the end of a piece of feedback is told.
pub(super) type Reply = oneshot::Sender<Result<Receipt, FeedbackError>>;

/// The writer, before and after it has a thread.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    predictions_kept: usize,
    predictions_kept_for: Duration,
    shelf: Shelf,
    /// Predictions without feedback.
    unjudged: usize,
    /// By the model's row.
    watches: BTreeMap<i64, Watch>,
    /// Whether a commit waits for the disk.
    durable: bool,
    /// When it was last looked whether something is too old; not yet, or not to the end, where absent.
    looked: Option<Instant>,
    _lock: Lock,
}

impl Writer {
    /// Opens the folder, and clears away what a process that was killed has left.
    pub(super) fn open(config: &Config) -> Result<Self, OpenError> {
        let (mut connection, lock) = database::open(&config.folder)?;
        let shelf = Shelf::open(config, &mut connection)?;
        let unjudged = retention::unjudged(&connection);
        let unjudged = unjudged.map_err(|error| OpenError::Database { file: config.folder.clone(), error })?;
        Ok(Self {
            connection,
            predictions_kept: config.predictions_kept,
            predictions_kept_for: config.predictions_kept_for,
            shelf,
            unjudged,
            watches: BTreeMap::new(),
            durable: true,
            looked: None,
            _lock: lock,
        })
    }

    /// Writes until it is told to end, or nobody is left who could tell it anything.
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(first) = messages.blocking_recv() {
            if matches!(first, Message::Prediction(_)) {
                // Nobody waits for it, and those that come meanwhile share its transaction.
                std::thread::sleep(GATHERED);
            }
            let mut batch = vec![first];
            while batch.len() < MOST {
                let Ok(message) = messages.try_recv() else { break };
                batch.push(message);
            }
            if batch.iter().any(|message| matches!(message, Message::End)) {
                // What is behind the end is written too, but nothing more gets in.
                messages.close();
            }
            self.take(batch);
        }
        // The last to close cannot: it only reads.
        let checkpoint = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = checkpoint {
            tracing::warn!(%error, "the database's log stays for the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use uuid::Uuid;

    use super::super::record::Truth;
    use super::super::tests::{config, feedback, model};
    use super::super::windows::LENGTH;
    use super::*;

    fn prediction(model: &Arc<ModelFacts>) -> Recorded {
        let (id, time) = (Uuid::now_v7(), SystemTime::now());
        Recorded { id, time, model: Arc::clone(model), classes: vec![(1, 0.5)], picture: None }
    }

    #[test]
    fn a_full_disk_refuses_feedback_and_what_was_acknowledged_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(&config(folder.path())).unwrap();
        let model = Arc::new(model());
        let give = |writer: &mut Writer, id| {
            let (reply, mut receipt) = oneshot::channel();
            writer.take(vec![Message::Feedback(feedback(id, Truth::Right), reply)]);
            receipt.try_recv().unwrap()
        };
        let first = prediction(&model);
        let first_id = first.id;
        writer.take(vec![Message::Prediction(first)]);
        give(&mut writer, first_id).unwrap();
        // As many pages as there are; SQLite answers as it does when the disk is full.
        let pages: i64 = writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        writer.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
        let many: Vec<Recorded> = (0..400).map(|_| prediction(&model)).collect();
        let ids: Vec<Uuid> = many.iter().map(|one| one.id).collect();
        let (reply, mut receipt) = oneshot::channel();
        let mut batch: Vec<Message> = many.into_iter().map(Message::Prediction).collect();
        batch.push(Message::Feedback(feedback(ids[0], Truth::Right), reply));
        writer.take(batch);
        assert_eq!(receipt.try_recv().unwrap(), Err(FeedbackError::Unavailable));
        assert_eq!(give(&mut writer, ids[0]), Err(FeedbackError::UnknownPrediction(ids[0])));
        // There is room again, and it goes on.
        writer.connection.query_row("PRAGMA max_page_count = 1000000", [], |_| Ok(())).unwrap();
        let next = prediction(&model);
        let next_id = next.id;
        writer.take(vec![Message::Prediction(next)]);
        give(&mut writer, next_id).unwrap();
        assert!(give(&mut writer, first_id).unwrap().replaced);
        assert_eq!(writer.unjudged, 0);
    }

    #[test]
    fn what_there_is_to_compare_with_outlives_retention_and_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { predictions_kept: 5, ..config(folder.path()) };
        let model = Arc::new(model());
        let mut writer = Writer::open(&config).unwrap();
        for _ in 0..4 {
            writer.take((0..400).map(|_| Message::Prediction(prediction(&model))).collect());
        }
        drop(writer);
        let mut writer = Writer::open(&config).unwrap();
        writer.take(vec![Message::Model(Arc::clone(&model))]);
        let watch = writer.watches.values().next().unwrap();
        assert_eq!((watch.references(), writer.unjudged), (LENGTH, 5));
    }
}
