//! What is known of one model while the server runs: its row, its windows, its metrics.

use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use uuid::Uuid;

use super::super::record::{ModelFacts, Verdict};
use super::super::windows::{LENGTH, Rolling, Windows};
use super::commit::Judgement;
use crate::telemetry::metrics::FeedbackMetrics;

/// One model.
#[derive(Debug)]
pub(super) struct Watch {
    name: String,
    version: String,
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
    /// Writes a model and its classes down, and gives back its row. Labels that have changed are changed.
    pub(super) fn register(connection: &mut Connection, model: &ModelFacts) -> rusqlite::Result<i64> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let named = params![model.name, model.version];
        transaction.execute("INSERT INTO models (name, version) VALUES (?, ?) ON CONFLICT DO NOTHING", named)?;
        let find = "SELECT id FROM models WHERE name = ? AND version = ?";
        let row: i64 = transaction.query_row(find, named, |row| row.get(0))?;
        {
            let mut insert = transaction.prepare(
                "INSERT INTO classes (model, class_id, label) VALUES (?, ?, ?) \
                 ON CONFLICT (model, class_id) DO UPDATE SET label = excluded.label WHERE label <> excluded.label",
            )?;
            for (class_id, label) in model.labels.iter().enumerate() {
                insert.execute(params![row, class_id as i64, label])?;
            }
        }
        transaction.commit()?;
        Ok(row)
    }

    /// What the database has of a model that has a row.
    pub(super) fn load(connection: &Connection, row: i64) -> rusqlite::Result<Self> {
        let find = "SELECT name, version FROM models WHERE id = ?";
        let (name, version): (String, String) =
            connection.query_row(find, [row], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut windows = Windows::default();
        let reference = "SELECT class_id, probability FROM reference WHERE model = ? ORDER BY place LIMIT ?";
        for (class_id, probability) in predictions(connection, reference, row)? {
            windows.refer(class_id, probability);
        }
        let last = "SELECT class_id, probability FROM predictions WHERE model = ? ORDER BY id DESC LIMIT ?";
        for (class_id, probability) in predictions(connection, last, row)?.into_iter().rev() {
            windows.push(class_id, probability);
        }
        let mut judged = Rolling::default();
        for (time, prediction, is_right) in judgements(connection, row)? {
            judged.push(time, prediction, is_right);
        }
        let metrics = FeedbackMetrics::new(&name, &version);
        let watch = Self { name, version, windows, judged, metrics, shown: Instant::now(), is_old: false };
        watch.show();
        Ok(watch)
    }

    pub(super) fn is_of(&self, model: &ModelFacts) -> bool {
        self.name == model.name && self.version == model.version
    }

    /// How many predictions there are to compare with.
    pub(super) fn references(&self) -> usize {
        self.windows.references()
    }

    /// A prediction was written down.
    pub(super) fn recorded(&mut self, class_id: u32, probability: f32) {
        self.metrics.recorded();
        if self.windows.references() < LENGTH {
            self.windows.refer(class_id, probability);
        }
        self.windows.push(class_id, probability);
    }

    /// Feedback was.
    pub(super) fn judged(&mut self, judgement: &Judgement) {
        self.judged.push(judgement.time, judgement.prediction, judgement.is_right);
    }

    /// Counts it.
    pub(super) fn count(&self, verdict: Verdict) {
        self.metrics.judged(verdict.word());
    }

    /// Something was recorded or judged.
    pub(super) fn change(&mut self) {
        self.is_old = true;
        if let Some(accuracy) = self.judged.accuracy() {
            self.metrics.accuracy(accuracy);
        }
    }

    /// Shows drift as it is now, if it was not shown since something was recorded, and not just before.
    pub(super) fn show_due(&mut self, now: Instant) {
        if self.is_old && now.duration_since(self.shown) >= SHOWN {
            self.show();
            (self.shown, self.is_old) = (now, false);
        }
    }

    fn show(&self) {
        let (confidence, classes) = self.windows.drift();
        self.metrics.drift(confidence, classes);
        if let Some(accuracy) = self.judged.accuracy() {
            self.metrics.accuracy(accuracy);
        }
    }
}

fn predictions(connection: &Connection, sql: &str, row: i64) -> rusqlite::Result<Vec<(u32, f32)>> {
    let mut statement = connection.prepare(sql)?;
    statement.query_map(params![row, LENGTH as i64], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
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
