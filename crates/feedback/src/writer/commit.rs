//! One transaction: what is in it, and what is told after it. Nothing is told before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::TransactionBehavior;
use uuid::Uuid;

use super::super::record::{Feedback, FeedbackError, Held, Receipt, Recorded, Verdict};
use super::predictions::{self, Places};
use super::{Message, Reply, Writer, judge, retention};
use kiln_runtime::telemetry::metrics::{self, RecordKind};

/// How often it is looked whether something is too old. The store's ticks come less often.
const AGED: Duration = Duration::from_secs(30);

/// What the log says where the folder was taken away. What is written then would be lost, though SQLite takes it.
const GONE: &str =
    "the database's file was removed or replaced while it was open; start the server again to begin anew";

/// What a transaction has done, to be told once it is committed.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// For each piece of feedback, in order.
    receipts: Vec<Result<Receipt, FeedbackError>>,
    /// Model's row, class and probability.
    recorded: Vec<(i64, u32, f32)>,
    /// Feedback that was stored.
    pub(super) judged: Vec<Judgement>,
    /// Predictions that were without feedback and have some now.
    pub(super) newly_judged: usize,
}

/// Feedback that was stored, as the windows count it.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) model: i64,
    pub(super) prediction: Uuid,
    /// When it was given, in milliseconds since 1970.
    pub(super) time: i64,
    pub(super) verdict: Verdict,
    pub(super) is_right: bool,
}

/// What a transaction is made of.
#[derive(Debug)]
enum Work {
    /// With the model's row.
    Prediction(Recorded, i64),
    Feedback(Feedback),
}

impl Writer {
    /// Writes what is in `batch`, in its order, all or nothing, and tells those who wait for it.
    pub(super) fn take(&mut self, batch: Vec<Message>) {
        let (mut work, mut replies): (Vec<Work>, Vec<Reply>) = (Vec::new(), Vec::new());
        for message in batch {
            match message {
                Message::Model(model) => {
                    self.row(&model, true);
                }
                Message::Prediction(recorded) => match self.row(&recorded.model, false) {
                    Some(model) => work.push(Work::Prediction(recorded, model)),
                    None => metrics::record_dropped(RecordKind::Prediction, "failed", 1),
                },
                Message::Feedback(feedback, reply) => {
                    work.push(Work::Feedback(feedback));
                    replies.push(reply);
                }
                Message::Tick | Message::End => {}
            }
        }
        // A tick looks too, so that it is told before somebody's feedback is refused.
        let applied = if self.place.holds() {
            self.apply(&work, !replies.is_empty()).map_err(|error| error.to_string())
        } else {
            Err(GONE.to_string())
        };
        match applied {
            Ok(done) => self.tell(done, replies),
            Err(error) => {
                let predictions = work.len() - replies.len();
                tracing::error!(%error, predictions, feedback = replies.len(), "feedback and predictions cannot be stored");
                self.shelf.rolled_back();
                metrics::record_dropped(RecordKind::Prediction, "failed", predictions);
                metrics::record_dropped(RecordKind::Feedback, "failed", replies.len());
                for reply in replies {
                    // Who has gone does not wait.
                    let _ = reply.send(Err(FeedbackError::Unavailable));
                }
            }
        }
    }

    fn apply(&mut self, work: &[Work], has_feedback: bool) -> rusqlite::Result<Done> {
        // Predictions are not acknowledged, so no disk is waited for on their account.
        self.be_durable(has_feedback)?;
        let (now, mut done) = (SystemTime::now(), Done::default());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut places: BTreeMap<i64, Places> = BTreeMap::new();
        for work in work {
            match work {
                Work::Prediction(recorded, model) => {
                    let put = |held: &Held| self.shelf.put(&transaction, &held.bytes, held.extension);
                    let picture = recorded.picture.as_ref().map(put).transpose()?.flatten();
                    if predictions::insert(&transaction, recorded, *model, picture)? {
                        let (class_id, probability) = recorded.classes[0];
                        let places = places.entry(*model).or_insert_with(|| Places::of(&self.watches[model]));
                        places.fill(&transaction, *model, (class_id, probability))?;
                        done.recorded.push((*model, class_id, probability));
                    }
                }
                Work::Feedback(feedback) => {
                    let receipt = judge::judge(&transaction, feedback, now, &mut done)?;
                    done.receipts.push(receipt);
                }
            }
        }
        let unjudged = (self.unjudged + done.recorded.len()).saturating_sub(done.newly_judged);
        let mut gone = retention::surplus(&transaction, unjudged.saturating_sub(self.prediction_retention_count))?;
        // Not each time: nothing is ever much too old.
        let look = self.looked.is_none_or(|looked| looked.elapsed() >= AGED);
        let mut more = false;
        if look {
            let (old, more_predictions) = retention::too_old(&transaction, now, self.prediction_retention)?;
            more = self.shelf.evict_old(&transaction, now)? || more_predictions;
            gone += old;
        }
        self.shelf.make_room(&transaction)?;
        transaction.commit()?;
        self.unjudged = unjudged.saturating_sub(gone);
        if look {
            self.looked = (!more).then(Instant::now);
        }
        Ok(done)
    }

    /// Whether a commit waits for the disk.
    fn be_durable(&mut self, durable: bool) -> rusqlite::Result<()> {
        if self.durable != durable {
            self.connection.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })?;
            self.durable = durable;
        }
        Ok(())
    }

    /// After the commit: the metrics, the windows, files that nothing refers to any more, and those who wait, who find the
    /// metrics as they have made them.
    fn tell(&mut self, done: Done, replies: Vec<Reply>) {
        self.shelf.committed();
        let mut changed = Vec::new();
        for (model, class_id, probability) in done.recorded {
            let Some(watch) = self.watches.get_mut(&model) else { continue };
            watch.recorded(class_id, probability);
            changed.push(model);
        }
        for judgement in done.judged {
            let model = judgement.model;
            // One that is loaded now has it in its window already.
            if let Some(watch) = self.watches.get_mut(&model) {
                watch.judged(&judgement);
            } else if let Err(error) = self.watch(model) {
                tracing::warn!(%error, "how often a model was right cannot be told");
            }
            if let Some(watch) = self.watches.get(&model) {
                watch.count(judgement.verdict);
            }
            changed.push(model);
        }
        changed.sort_unstable();
        changed.dedup();
        let now = Instant::now();
        self.watches.iter_mut().filter(|(model, _)| changed.contains(model)).for_each(|(_, watch)| watch.change());
        self.watches.values_mut().for_each(|watch| watch.show_due(now));
        for (reply, receipt) in replies.into_iter().zip(done.receipts) {
            // Who has gone does not wait.
            let _ = reply.send(receipt);
        }
    }
}
