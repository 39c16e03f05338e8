//! The thread that writes. It takes whatever waits into one transaction, so that many who wait share one flush of the disk.
//!
//! | file | responsibility |
//! |---|---|
//! | `commit.rs` | one transaction: what is in it, and what is told after it |
//! | `predictions.rs` | the rows of predictions |
//! | `judge.rs` | feedback on one prediction |
//! | `retention.rs` | what is let go |
//! | `served.rs` | which models there are, and which of them is served |
//! | `watch.rs` | what is known of each model: its row, its windows, its metrics |

mod commit;
mod judge;
mod predictions;
mod retention;
mod served;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::Config;
use super::database::{self, Lock, OpenError, Place};
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
    prediction_retention_count: usize,
    prediction_retention: Duration,
    shelf: Shelf,
    /// Predictions without feedback.
    unjudged: usize,
    /// By the model's row.
    watches: BTreeMap<i64, Watch>,
    /// Whether a commit waits for the disk.
    durable: bool,
    /// When it was last looked whether something is too old; not yet, or not to the end, where absent.
    looked: Option<Instant>,
    place: Place,
    _lock: Lock,
}

impl Writer {
    /// Opens the folder, and clears away what a process that was killed has left.
    pub(super) fn open(config: &Config) -> Result<Self, OpenError> {
        let (mut connection, lock) = database::open(&config.folder)?;
        let place = Place::of(&config.folder).map_err(|error| OpenError::folder(&config.folder, error))?;
        let shelf = Shelf::open(config, &mut connection)?;
        let unjudged = retention::unjudged(&connection).map_err(|error| OpenError::database(&config.folder, error))?;
        Ok(Self {
            connection,
            prediction_retention_count: config.prediction_retention_count,
            prediction_retention: config.prediction_retention,
            shelf,
            unjudged,
            watches: BTreeMap::new(),
            durable: true,
            looked: None,
            place,
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
