//! What is known of one model while the server runs: its row, its windows, its metrics.

use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use uuid::Uuid;

use super::super::reader::served_last;
use super::super::record::{ModelFacts, Verdict};
use super::super::windows::{LENGTH, Rolling, Windows};
use super::commit::Judgement;
use kiln_runtime::telemetry::metrics::FeedbackMetrics;

/// One model.
#[derive(Debug)]
pub(super) struct Watch {
    name: String,
    version: String,
    digest: String,
    /// Whether of those with its name and version it was served last.
    is_served: bool,
    windows: Windows,
    judged: Rolling,
    metrics: FeedbackMetrics,
    /// When drift was last shown, and whether it has changed since.
    shown: Instant,
    is_old: bool,
}

/// How often drift is shown: it takes longer to find than a prediction to record, and nobody asks more often.
const SHOWN: Duration = Duration::from_secs(1);

impl Watch {
    /// Writes a model and its classes down, and gives back its row. With other weights or labels it has another one: what was
    /// said of it before stays as it was said. It is the one that is served now by its name and version.
    pub(super) fn register(connection: &mut Connection, model: &ModelFacts) -> rusqlite::Result<i64> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let upsert = "INSERT INTO models (name, version, digest, turn) \
                      VALUES (?, ?, ?, (SELECT coalesce(max(turn), 0) + 1 FROM models)) \
                      ON CONFLICT DO UPDATE SET turn = excluded.turn RETURNING id";
        let named = params![model.name, model.version, model.digest];
        let row: i64 = transaction.query_row(upsert, named, |row| row.get(0))?;
        {
            let insert = "INSERT INTO classes (model, class_id, label) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
            let mut insert = transaction.prepare(insert)?;
            for (class_id, label) in model.labels.iter().enumerate() {
                insert.execute(params![row, class_id as i64, label])?;
            }
        }
        transaction.commit()?;
        Ok(row)
    }

    /// What the database has of a model that has a row.
    pub(super) fn load(connection: &Connection, row: i64) -> rusqlite::Result<Self> {
        let find = "SELECT name, version, digest FROM models WHERE id = ?";
        let (name, version, digest): (String, String, String) =
            connection.query_row(find, [row], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let is_served = served_last(connection, &name, &version)? == Some(row);
        let mut windows = Windows::default();
        let reference = "SELECT place, class_id, probability FROM reference WHERE model = ? ORDER BY place LIMIT ?";
        for (_, class_id, probability) in predictions(connection, reference, row)? {
            windows.refer(class_id, probability);
        }
        let recent = "SELECT number, class_id, probability FROM recent WHERE model = ? ORDER BY number LIMIT ?";
        for (number, class_id, probability) in predictions(connection, recent, row)? {
            windows.push(number, class_id, probability);
        }
        let mut judged = Rolling::default();
        for (time, prediction, is_right) in judgements(connection, row)? {
            judged.push(time, prediction, is_right);
        }
        let metrics = FeedbackMetrics::new(&name, &version);
        let shown = Instant::now();
        Ok(Self { name, version, digest, is_served, windows, judged, metrics, shown, is_old: false })
    }

    pub(super) fn is_of(&self, model: &ModelFacts) -> bool {
        self.is_named_as(model) && self.digest == model.digest
    }

    /// Whether metrics and summaries have it by the same words.
    pub(super) fn is_named_as(&self, model: &ModelFacts) -> bool {
        self.name == model.name && self.version == model.version
    }

    /// Whether it is the one of its name and version that is served now.
    pub(super) fn is_served(&self) -> bool {
        self.is_served
    }

    /// Tells it. Metrics are of that one.
    pub(super) fn serve(&mut self, is_served: bool) {
        self.is_served = is_served;
        self.show();
    }

    /// How many predictions there are to compare with.
    pub(super) fn references(&self) -> usize {
        self.windows.references()
    }

    /// The number of the prediction that comes next.
    pub(super) fn next(&self) -> u64 {
        self.windows.next()
    }

    /// A prediction was written down.
    pub(super) fn recorded(&mut self, class_id: u32, probability: f32) {
        self.metrics.prediction_recorded();
        if self.windows.references() < LENGTH {
            self.windows.refer(class_id, probability);
        }
        self.windows.push(self.windows.next(), class_id, probability);
    }

    /// Feedback was.
    pub(super) fn judged(&mut self, judgement: &Judgement) {
        self.judged.push(judgement.time, judgement.prediction, judgement.is_right);
    }

    /// Counts it.
    pub(super) fn count(&self, verdict: Verdict) {
        self.metrics.feedback_stored(verdict.word());
    }

    /// Something was recorded or judged.
    pub(super) fn change(&mut self) {
        self.is_old = true;
        self.show_accuracy();
    }

    /// Shows drift as it is now, if it was not shown since something was recorded, and not just before.
    pub(super) fn show_due(&mut self, now: Instant) {
        if self.is_old && now.duration_since(self.shown) >= SHOWN {
            self.show();
            (self.shown, self.is_old) = (now, false);
        }
    }

    /// Of the confidence and of the mix of classes.
    pub(super) fn drift(&self) -> (f64, f64) {
        self.windows.drift()
    }

    /// Shows all that there is to show, if it is of the one that is served.
    pub(super) fn show(&self) {
        if self.is_served {
            let (confidence, classes) = self.drift();
            self.metrics.set_drift(confidence, classes);
            self.show_accuracy();
        }
    }

    fn show_accuracy(&self) {
        if self.is_served {
            // Of nothing there is none.
            self.metrics.set_accuracy(self.judged.accuracy().unwrap_or(f64::NAN));
        }
    }
}

/// Each with its number.
fn predictions(connection: &Connection, sql: &str, row: i64) -> rusqlite::Result<Vec<(u64, u32, f32)>> {
    let mut statement = connection.prepare(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?, row.get(2)?));
    statement.query_map(params![row, LENGTH as i64], read)?.collect()
}

/// The last ones, with when feedback was given: those of a summary.
fn judgements(connection: &Connection, row: i64) -> rusqlite::Result<Vec<(i64, Uuid, bool)>> {
    let sql = "SELECT f.time, f.prediction, coalesce(f.true_id = p.class_id, 0) \
               FROM feedback f JOIN predictions p ON p.id = f.prediction \
               WHERE f.model = ? ORDER BY f.time DESC, f.prediction DESC LIMIT ?";
    let mut statement = connection.prepare(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Uuid::from_bytes(row.get(1)?), row.get(2)?));
    statement.query_map(params![row, LENGTH as i64], read)?.collect()
}
