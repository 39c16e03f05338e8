//! Monitors one model while the server runs: its windows for drift, its rolling accuracy, and its metrics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kiln_runtime::telemetry::metrics::FeedbackMetrics;
use rusqlite::{Connection, TransactionBehavior, params};
use uuid::Uuid;

use crate::database::latest_model_row;
use crate::drift::{PredictionWindows, WINDOW_LENGTH};
use crate::record::{FeedbackKind, ModelIdentity};

/// Minimum time between two publications of drift: it takes longer to calculate than a prediction takes to record.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// Monitors one model.
#[derive(Debug)]
pub(super) struct ModelMonitor {
    name: String,
    version: String,
    digest: String,
    /// Whether this model was served last of all models with its name and version.
    is_served: bool,
    windows: PredictionWindows,
    accuracy: RollingAccuracy,
    metrics: FeedbackMetrics,
    /// When drift was last published.
    published: Instant,
    /// Whether drift may have changed since.
    is_stale: bool,
}

impl ModelMonitor {
    /// Stores a model and its classes, and returns its row. The model becomes the one that is served under its name and version.
    /// A model with other weights or labels has another row, so earlier feedback keeps its meaning.
    pub(super) fn register(connection: &mut Connection, model: &ModelIdentity) -> rusqlite::Result<i64> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let upsert = "INSERT INTO models (name, version, digest, turn) \
                      VALUES (?, ?, ?, (SELECT coalesce(max(turn), 0) + 1 FROM models)) \
                      ON CONFLICT DO UPDATE SET turn = excluded.turn RETURNING id";
        let values = params![model.name, model.version, model.digest];
        let row: i64 = transaction.query_row(upsert, values, |row| row.get(0))?;
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

    /// Loads the state of the model with this row from the database.
    pub(super) fn load(connection: &Connection, row: i64) -> rusqlite::Result<Self> {
        let find = "SELECT name, version, digest FROM models WHERE id = ?";
        let (name, version, digest): (String, String, String) =
            connection.query_row(find, [row], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let is_served = latest_model_row(connection, &name, &version)? == Some(row);
        let mut windows = PredictionWindows::default();
        let reference = "SELECT place, class_id, probability FROM reference WHERE model = ? ORDER BY place LIMIT ?";
        for (_, class_id, probability) in load_window(connection, reference, row)? {
            windows.push_reference(class_id, probability);
        }
        let recent = "SELECT number, class_id, probability FROM recent WHERE model = ? ORDER BY number LIMIT ?";
        for (number, class_id, probability) in load_window(connection, recent, row)? {
            windows.push_recent(number, class_id, probability);
        }
        let mut accuracy = RollingAccuracy::default();
        for (time, prediction, is_right) in load_feedback(connection, row)? {
            accuracy.push(time, prediction, is_right);
        }
        let metrics = FeedbackMetrics::new(&name, &version);
        let published = Instant::now();
        Ok(Self { name, version, digest, is_served, windows, accuracy, metrics, published, is_stale: false })
    }

    /// Returns whether this is the monitor of `model`.
    pub(super) fn is_of(&self, model: &ModelIdentity) -> bool {
        self.has_name_of(model) && self.digest == model.digest
    }

    /// Returns whether name and version are those of `model`: metrics and summaries do not distinguish such models.
    pub(super) fn has_name_of(&self, model: &ModelIdentity) -> bool {
        self.name == model.name && self.version == model.version
    }

    /// Returns whether this model was served last of all models with its name and version.
    pub(super) fn is_served(&self) -> bool {
        self.is_served
    }

    /// Sets whether this model is the served one. Only the served model publishes metrics.
    pub(super) fn set_served(&mut self, is_served: bool) {
        self.is_served = is_served;
        self.publish();
    }

    /// Returns the number of predictions in the reference window.
    pub(super) fn reference_count(&self) -> usize {
        self.windows.reference_count()
    }

    /// Returns the number of the next prediction.
    pub(super) fn next_number(&self) -> u64 {
        self.windows.next_number()
    }

    /// Adds a stored prediction.
    pub(super) fn add_prediction(&mut self, class_id: u32, probability: f32) {
        self.metrics.prediction_recorded();
        if self.windows.reference_count() < WINDOW_LENGTH {
            self.windows.push_reference(class_id, probability);
        }
        self.windows.push_recent(self.windows.next_number(), class_id, probability);
    }

    /// Adds stored feedback, given at `time` in milliseconds since 1970.
    pub(super) fn add_feedback(&mut self, time: i64, prediction: Uuid, is_right: bool) {
        self.accuracy.push(time, prediction, is_right);
    }

    /// Counts feedback in the metrics.
    pub(super) fn count_feedback(&self, kind: FeedbackKind) {
        self.metrics.feedback_stored(kind.as_str());
    }

    /// Publishes the accuracy, and marks drift for the next publication.
    pub(super) fn mark_changed(&mut self) {
        self.is_stale = true;
        self.publish_accuracy();
    }

    /// Publishes drift if it may have changed and was not published within [`PUBLISH_INTERVAL`].
    pub(super) fn publish_if_due(&mut self, now: Instant) {
        if self.is_stale && now.duration_since(self.published) >= PUBLISH_INTERVAL {
            self.publish();
            (self.published, self.is_stale) = (now, false);
        }
    }

    /// Returns confidence drift and class drift.
    pub(super) fn drift(&self) -> (f64, f64) {
        self.windows.drift()
    }

    /// Publishes drift and accuracy, if this model is the served one.
    pub(super) fn publish(&self) {
        if self.is_served {
            let (confidence, classes) = self.drift();
            self.metrics.set_drift(confidence, classes);
            self.publish_accuracy();
        }
    }

    fn publish_accuracy(&self) {
        if self.is_served {
            self.metrics.set_accuracy(self.accuracy.value().unwrap_or(f64::NAN));
        }
    }
}

/// Loads number, class id and probability of the predictions in a window.
fn load_window(connection: &Connection, sql: &str, row: i64) -> rusqlite::Result<Vec<(u64, u32, f32)>> {
    let mut statement = connection.prepare(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?, row.get(2)?));
    statement.query_map(params![row, WINDOW_LENGTH as i64], read)?.collect()
}

/// Loads the last feedback: its time, the prediction's id, and whether the prediction is right. A summary selects the same rows.
fn load_feedback(connection: &Connection, row: i64) -> rusqlite::Result<Vec<(i64, Uuid, bool)>> {
    let sql = "SELECT f.time, f.prediction, coalesce(f.true_id = p.class_id, 0) \
               FROM feedback f JOIN predictions p ON p.id = f.prediction \
               WHERE f.model = ? ORDER BY f.time DESC, f.prediction DESC LIMIT ?";
    let mut statement = connection.prepare(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Uuid::from_bytes(row.get(1)?), row.get(2)?));
    statement.query_map(params![row, WINDOW_LENGTH as i64], read)?.collect()
}

/// Tracks whether the last predictions with feedback are right. The order is that of summaries: time of the feedback in
/// milliseconds, then prediction id. New feedback on a prediction replaces the earlier one.
#[derive(Debug, Default)]
struct RollingAccuracy(BTreeMap<(i64, Uuid), bool>);

impl RollingAccuracy {
    fn push(&mut self, time: i64, prediction: Uuid, is_right: bool) {
        let earlier = self.0.keys().find(|(_, id)| *id == prediction).copied();
        if let Some(earlier) = earlier {
            self.0.remove(&earlier);
        }
        self.0.insert((time, prediction), is_right);
        if self.0.len() > WINDOW_LENGTH {
            self.0.pop_first();
        }
    }

    /// Returns the fraction of right predictions; nothing if there is no feedback.
    fn value(&self) -> Option<f64> {
        let right = self.0.values().filter(|is_right| **is_right).count();
        (!self.0.is_empty()).then(|| right as f64 / self.0.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_feedback_on_a_prediction_counts_once_and_last() {
        let mut accuracy = RollingAccuracy::default();
        assert_eq!(accuracy.value(), None);
        let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        accuracy.push(1, one, true);
        accuracy.push(2, two, false);
        assert_eq!(accuracy.value(), Some(0.5));
        accuracy.push(3, one, false);
        assert_eq!(accuracy.value(), Some(0.0));
        accuracy.push(4, one, true);
        (5..WINDOW_LENGTH as i64 + 4).for_each(|time| accuracy.push(time, Uuid::from_u128(time as u128), false));
        // The oldest feedback, which is now that on the second prediction, is dropped.
        assert_eq!(accuracy.value(), Some(1.0 / WINDOW_LENGTH as f64));
        assert!(!accuracy.0.contains_key(&(2, two)));
    }
}
