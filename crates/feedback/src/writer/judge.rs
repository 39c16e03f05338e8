//! Feedback on one prediction: what it means for the model that had answered, and how it is stored.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::record::{Feedback, FeedbackError, Receipt, Truth, Verdict};
use super::commit::{Done, Judgement};
use super::predictions::millis;

/// What the database has of a prediction.
struct Predicted {
    model: i64,
    name: String,
    version: String,
    class_id: u32,
    picture: Option<[u8; 32]>,
    has_feedback: bool,
}

/// Stores feedback, in place of what there was on the same prediction. The outer error is the database's.
pub(super) fn judge(
    connection: &Connection,
    feedback: &Feedback,
    now: SystemTime,
    done: &mut Done,
) -> rusqlite::Result<Result<Receipt, FeedbackError>> {
    let id = feedback.prediction;
    let Some(predicted) = find(connection, id.as_bytes())? else {
        return Ok(Err(FeedbackError::UnknownPrediction(id)));
    };
    let truth = match truth(connection, &predicted, &feedback.truth)? {
        Ok(truth) => truth,
        Err(error) => return Ok(Err(error)),
    };
    let verdict = match feedback.truth {
        Truth::Right => Verdict::Right,
        Truth::Wrong => Verdict::Wrong,
        Truth::ClassId(_) | Truth::Label(_) => Verdict::Label,
    };
    store(connection, feedback, predicted.model, verdict, truth, now)?;
    if !predicted.has_feedback {
        connection.prepare_cached("UPDATE predictions SET judged = 1 WHERE id = ?")?.execute([id.as_bytes()])?;
        done.newly_judged += 1;
    }
    if let Some(picture) = predicted.picture {
        connection.prepare_cached("UPDATE pictures SET judged = 1 WHERE sha256 = ?")?.execute([picture])?;
    }
    let is_right = truth == Some(predicted.class_id);
    let time = millis(now);
    done.judged.push(Judgement { model: predicted.model, prediction: id, time, verdict, is_right });
    let named =
        |class_id| label(connection, predicted.model, class_id).map(|label| (class_id, label.unwrap_or_default()));
    Ok(Ok(Receipt {
        verdict,
        predicted: named(predicted.class_id)?,
        truth: truth.map(named).transpose()?,
        replaced: predicted.has_feedback,
        model: predicted.name,
        version: predicted.version,
    }))
}

fn find(connection: &Connection, id: &[u8; 16]) -> rusqlite::Result<Option<Predicted>> {
    let sql = "SELECT p.model, m.name, m.version, p.class_id, p.picture, \
               EXISTS (SELECT 1 FROM feedback f WHERE f.prediction = p.id) \
               FROM predictions p JOIN models m ON m.id = p.model WHERE p.id = ?";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Predicted {
            model: row.get(0)?,
            name: row.get(1)?,
            version: row.get(2)?,
            class_id: row.get(3)?,
            picture: row.get(4)?,
            has_feedback: row.get(5)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([id], read).optional()
}

/// The true class, if it is known.
fn truth(
    connection: &Connection,
    predicted: &Predicted,
    said: &Truth,
) -> rusqlite::Result<Result<Option<u32>, FeedbackError>> {
    let model = || predicted.name.clone();
    Ok(match said {
        Truth::Right => Ok(Some(predicted.class_id)),
        Truth::Wrong => Ok(None),
        Truth::ClassId(class_id) => match label(connection, predicted.model, *class_id)? {
            Some(_) => Ok(Some(*class_id)),
            None => Err(FeedbackError::UnknownClass { model: model(), class_id: *class_id }),
        },
        Truth::Label(label) => match classes(connection, predicted.model, label)?[..] {
            [] => Err(FeedbackError::UnknownLabel { model: model() }),
            [only] => Ok(Some(only)),
            [first, second, ..] => Err(FeedbackError::AmbiguousLabel { model: model(), first, second }),
        },
    })
}

fn label(connection: &Connection, model: i64, class_id: u32) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT label FROM classes WHERE model = ? AND class_id = ?";
    connection.prepare_cached(sql)?.query_row(params![model, class_id], |row| row.get(0)).optional()
}

/// The classes of that name: two at most, since more do not matter.
fn classes(connection: &Connection, model: i64, label: &str) -> rusqlite::Result<Vec<u32>> {
    let sql = "SELECT class_id FROM classes WHERE model = ? AND label = ? ORDER BY class_id LIMIT 2";
    connection.prepare_cached(sql)?.query_map(params![model, label], |row| row.get(0))?.collect()
}

fn store(
    connection: &Connection,
    feedback: &Feedback,
    model: i64,
    verdict: Verdict,
    truth: Option<u32>,
    now: SystemTime,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO feedback (prediction, model, time, verdict, true_id, note, account) VALUES (?, ?, ?, ?, ?, ?, ?) \
               ON CONFLICT (prediction) DO UPDATE SET time = excluded.time, verdict = excluded.verdict, \
               true_id = excluded.true_id, note = excluded.note, account = excluded.account";
    let Feedback { prediction, note, account, .. } = feedback;
    let id = prediction.as_bytes();
    let values = params![id, model, millis(now), verdict.word(), truth, note, account];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}
