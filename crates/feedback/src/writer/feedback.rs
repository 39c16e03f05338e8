//! Validates feedback against the prediction and its model, and stores it.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::error::FeedbackError;
use crate::record::{Feedback, FeedbackKind, Label, Receipt};
use crate::schema::unix_millis;

/// Feedback that was stored.
#[derive(Debug)]
pub(super) struct AppliedFeedback {
    /// Row of the model.
    pub(super) model: i64,
    pub(super) prediction: Uuid,
    /// When the feedback was given, in milliseconds since 1970.
    pub(super) time: i64,
    /// Whether the most probable class is the true one.
    pub(super) is_right: bool,
    pub(super) receipt: Receipt,
}

/// A prediction as the database has it.
struct Predicted {
    model: i64,
    name: String,
    version: String,
    class_id: u32,
    image: Option<[u8; 32]>,
    has_feedback: bool,
}

/// Stores feedback; it replaces earlier feedback on the same prediction. The outer error is an error of the database.
pub(super) fn apply(
    connection: &Connection,
    feedback: &Feedback,
    now: SystemTime,
) -> rusqlite::Result<Result<AppliedFeedback, FeedbackError>> {
    let id = feedback.prediction;
    let Some(predicted) = find_prediction(connection, id.as_bytes())? else {
        return Ok(Err(FeedbackError::UnknownPrediction(id)));
    };
    let true_id = match resolve_label(connection, &predicted, &feedback.label)? {
        Ok(true_id) => true_id,
        Err(error) => return Ok(Err(error)),
    };
    let kind = match feedback.label {
        Label::Right => FeedbackKind::Right,
        Label::Wrong => FeedbackKind::Wrong,
        Label::ClassId(_) | Label::ClassName(_) => FeedbackKind::Label,
    };
    let time = unix_millis(now);
    upsert(connection, feedback, predicted.model, kind, true_id, time)?;
    if !predicted.has_feedback {
        connection.prepare_cached("UPDATE predictions SET judged = 1 WHERE id = ?")?.execute([id.as_bytes()])?;
    }
    if let Some(image) = predicted.image {
        connection.prepare_cached("UPDATE pictures SET judged = 1 WHERE sha256 = ?")?.execute([image])?;
    }
    let class = |class_id| {
        class_label(connection, predicted.model, class_id).map(|label| (class_id, label.unwrap_or_default()))
    };
    let receipt = Receipt {
        kind,
        predicted: class(predicted.class_id)?,
        true_class: true_id.map(class).transpose()?,
        replaced: predicted.has_feedback,
        model: predicted.name,
        version: predicted.version,
    };
    let is_right = true_id == Some(predicted.class_id);
    Ok(Ok(AppliedFeedback { model: predicted.model, prediction: id, time, is_right, receipt }))
}

fn find_prediction(connection: &Connection, id: &[u8; 16]) -> rusqlite::Result<Option<Predicted>> {
    let sql = "SELECT p.model, m.name, m.version, p.class_id, p.picture, \
               EXISTS (SELECT 1 FROM feedback f WHERE f.prediction = p.id) \
               FROM predictions p JOIN models m ON m.id = p.model WHERE p.id = ?";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Predicted {
            model: row.get(0)?,
            name: row.get(1)?,
            version: row.get(2)?,
            class_id: row.get(3)?,
            image: row.get(4)?,
            has_feedback: row.get(5)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([id], read).optional()
}

/// Returns the id of the true class; nothing if only the predicted class was rejected.
fn resolve_label(
    connection: &Connection,
    predicted: &Predicted,
    label: &Label,
) -> rusqlite::Result<Result<Option<u32>, FeedbackError>> {
    let model = || predicted.name.clone();
    Ok(match label {
        Label::Right => Ok(Some(predicted.class_id)),
        Label::Wrong => Ok(None),
        Label::ClassId(class_id) => match class_label(connection, predicted.model, *class_id)? {
            Some(_) => Ok(Some(*class_id)),
            None => Err(FeedbackError::UnknownClass { model: model(), class_id: *class_id }),
        },
        Label::ClassName(name) => match class_ids(connection, predicted.model, name)?[..] {
            [] => Err(FeedbackError::UnknownLabel { model: model() }),
            [only] => Ok(Some(only)),
            [first, second, ..] => Err(FeedbackError::AmbiguousLabel { model: model(), first, second }),
        },
    })
}

fn class_label(connection: &Connection, model: i64, class_id: u32) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT label FROM classes WHERE model = ? AND class_id = ?";
    connection.prepare_cached(sql)?.query_row(params![model, class_id], |row| row.get(0)).optional()
}

/// Returns the ids of the classes with this label, at most two: two are enough to know that the label is ambiguous.
fn class_ids(connection: &Connection, model: i64, label: &str) -> rusqlite::Result<Vec<u32>> {
    let sql = "SELECT class_id FROM classes WHERE model = ? AND label = ? ORDER BY class_id LIMIT 2";
    connection.prepare_cached(sql)?.query_map(params![model, label], |row| row.get(0))?.collect()
}

fn upsert(
    connection: &Connection,
    feedback: &Feedback,
    model: i64,
    kind: FeedbackKind,
    true_id: Option<u32>,
    time: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO feedback (prediction, model, time, verdict, true_id, note, account) VALUES (?, ?, ?, ?, ?, ?, ?) \
               ON CONFLICT (prediction) DO UPDATE SET time = excluded.time, verdict = excluded.verdict, \
               true_id = excluded.true_id, note = excluded.note, account = excluded.account";
    let Feedback { prediction, note, account, .. } = feedback;
    let values = params![prediction.as_bytes(), model, time, kind.as_str(), true_id, note, account];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}
