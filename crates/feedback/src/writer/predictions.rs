//! Inserts predictions, maintains the stored windows for drift, and deletes predictions beyond the retention.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};

use crate::drift::WINDOW_LENGTH;
use crate::queue::QueuedPrediction;
use crate::schema::{encode_classes, first_id_at, unix_millis};

/// Maximum number of predictions that one transaction deletes for each reason: feedback waits for the transaction. It is larger
/// than the number of predictions that one transaction inserts, so deletion keeps up.
const MAX_DELETED: usize = 1024;

/// Inserts a prediction. Returns whether it is new.
pub(super) fn insert(
    connection: &Connection,
    prediction: &QueuedPrediction,
    model: i64,
    image: Option<[u8; 32]>,
) -> rusqlite::Result<bool> {
    let (class_id, probability) = prediction.classes[0];
    let (id, time, top) = (prediction.id.as_bytes(), unix_millis(prediction.time), encode_classes(&prediction.classes));
    let insert = "INSERT INTO predictions (id, time, model, class_id, probability, top, picture) \
                  VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";
    let values = params![id, time, model, class_id, probability, top, image];
    let inserted = connection.prepare_cached(insert)?.execute(values)?;
    Ok(inserted == 1)
}

/// The positions of a model's next prediction in the stored windows. They advance within a transaction; the model's monitor
/// follows after the commit.
#[derive(Debug)]
pub(super) struct WindowPositions {
    /// Number of predictions in the reference window.
    pub(super) reference_count: usize,
    /// Number of the next prediction in the recent window.
    pub(super) next_number: u64,
}

impl WindowPositions {
    /// Adds the next prediction, class id and probability, to the stored windows.
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        model: i64,
        (class_id, probability): (u32, f32),
    ) -> rusqlite::Result<()> {
        if self.reference_count < WINDOW_LENGTH {
            let insert = "INSERT INTO reference (model, place, class_id, probability) VALUES (?, ?, ?, ?)";
            let values = params![model, self.reference_count as i64, class_id, probability];
            connection.prepare_cached(insert)?.execute(values)?;
            self.reference_count += 1;
        }
        // Replaces the oldest prediction of the ring buffer, so that the recent window is the same after a restart.
        let insert =
            "INSERT OR REPLACE INTO recent (model, place, number, class_id, probability) VALUES (?, ?, ?, ?, ?)";
        let place = self.next_number % WINDOW_LENGTH as u64;
        let values = params![model, place as i64, self.next_number as i64, class_id, probability];
        connection.prepare_cached(insert)?.execute(values)?;
        self.next_number += 1;
        Ok(())
    }
}

/// Returns the number of predictions without feedback.
pub(super) fn count_unlabelled(connection: &Connection) -> rusqlite::Result<usize> {
    let count: i64 = connection.query_row("SELECT count(*) FROM predictions WHERE judged = 0", [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Deletes the oldest `excess` predictions without feedback, within [`MAX_DELETED`]. Returns the number of deleted predictions.
pub(super) fn delete_excess(connection: &Connection, excess: usize) -> rusqlite::Result<usize> {
    if excess == 0 {
        return Ok(0);
    }
    let oldest =
        "DELETE FROM predictions WHERE id IN (SELECT id FROM predictions WHERE judged = 0 ORDER BY id LIMIT ?)";
    connection.prepare_cached(oldest)?.execute([excess.min(MAX_DELETED) as i64])
}

/// Deletes predictions without feedback that are older than `retention`. Returns the number of deleted predictions, and whether
/// there may be more to delete.
pub(super) fn delete_expired(
    connection: &Connection,
    now: SystemTime,
    retention: Duration,
) -> rusqlite::Result<(usize, bool)> {
    let Some(oldest) = now.checked_sub(retention) else { return Ok((0, false)) };
    let expired = "DELETE FROM predictions WHERE id IN \
                   (SELECT id FROM predictions WHERE judged = 0 AND id < ? ORDER BY id LIMIT ?)";
    let deleted = connection.prepare_cached(expired)?.execute(params![first_id_at(oldest), MAX_DELETED as i64])?;
    Ok((deleted, deleted == MAX_DELETED))
}
