//! The format of the database: its tables, its migrations, and how times and classes are encoded.
//!
//! Each migration converts a file from one format to the next; `user_version` counts the migrations of a file. Prediction ids
//! are UUIDs of version 7, so they sort by time. Times are milliseconds since 1970.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, TransactionBehavior};

/// Name of the database in the data folder.
pub(crate) const DATABASE_FILE: &str = "feedback.db";

/// The migrations, oldest first. A migration that was released is never changed.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE models (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        -- Digest of graph, weights and labels. Another digest is another model, even with the same version.
        digest TEXT NOT NULL,
        -- Increases whenever a model starts to be served; the model served last has the highest value.
        turn INTEGER NOT NULL,
        UNIQUE (name, version, digest)
    ) STRICT;
    CREATE TABLE classes (
        model INTEGER NOT NULL REFERENCES models,
        class_id INTEGER NOT NULL,
        label TEXT NOT NULL,
        PRIMARY KEY (model, class_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE predictions (
        id BLOB PRIMARY KEY CHECK (length(id) = 16),
        time INTEGER NOT NULL,
        model INTEGER NOT NULL REFERENCES models,
        class_id INTEGER NOT NULL,
        probability REAL NOT NULL,
        -- Class id (u32) and probability (f32) of each returned class, little-endian, most probable first.
        top BLOB NOT NULL,
        -- SHA-256 of the image, if it was stored at that time. If it still is, the table of pictures has it.
        picture BLOB,
        judged INTEGER NOT NULL DEFAULT 0 CHECK (judged IN (0, 1))
    ) STRICT, WITHOUT ROWID;
    -- Finds predictions to delete, oldest first.
    CREATE INDEX predictions_unjudged ON predictions (id) WHERE judged = 0;
    -- Finds out whether an image that is sent again has feedback.
    CREATE INDEX predictions_judged_pictures ON predictions (picture) WHERE judged = 1 AND picture IS NOT NULL;

    CREATE TABLE feedback (
        prediction BLOB PRIMARY KEY REFERENCES predictions,
        model INTEGER NOT NULL REFERENCES models,
        time INTEGER NOT NULL,
        verdict TEXT NOT NULL CHECK (verdict IN ('right', 'wrong', 'label')),
        -- For 'right' the predicted class; absent only for 'wrong'.
        true_id INTEGER CHECK ((true_id IS NULL) = (verdict = 'wrong')),
        note TEXT,
        account TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX feedback_by_time ON feedback (model, time);

    -- The first predictions of each model, the reference for drift. They are never deleted.
    CREATE TABLE reference (
        model INTEGER NOT NULL REFERENCES models,
        place INTEGER NOT NULL,
        class_id INTEGER NOT NULL,
        probability REAL NOT NULL,
        PRIMARY KEY (model, place)
    ) STRICT, WITHOUT ROWID;

    -- The last predictions of each model, some of which are no longer in predictions: a ring buffer, ordered by number.
    CREATE TABLE recent (
        model INTEGER NOT NULL REFERENCES models,
        place INTEGER NOT NULL,
        number INTEGER NOT NULL,
        class_id INTEGER NOT NULL,
        probability REAL NOT NULL,
        PRIMARY KEY (model, place)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE pictures (
        sha256 BLOB PRIMARY KEY CHECK (length(sha256) = 32),
        extension TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        -- When the image was last sent.
        time INTEGER NOT NULL,
        -- Whether a prediction of the image has feedback.
        judged INTEGER NOT NULL DEFAULT 0 CHECK (judged IN (0, 1))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX pictures_by_time ON pictures (judged, time);
"];

/// The format that this program reads and writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Migrates the database from format `version` to [`VERSION`] in one transaction.
pub(crate) fn migrate(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let missing = MIGRATIONS.get(usize::try_from(version).unwrap_or_default()..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Encodes a time as milliseconds since 1970.
pub(crate) fn unix_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Decodes a time from milliseconds since 1970.
pub(crate) fn from_unix_millis(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis.unsigned_abs())
}

/// Encodes class ids and probabilities for the column `top`.
pub(crate) fn encode_classes(classes: &[(u32, f32)]) -> Vec<u8> {
    let encode = |(class_id, probability): &(u32, f32)| [class_id.to_le_bytes(), probability.to_le_bytes()].concat();
    classes.iter().flat_map(encode).collect()
}

/// Decodes the class ids from the column `top`.
pub(crate) fn decode_class_ids(top: &[u8]) -> Vec<u32> {
    top.as_chunks::<8>().0.iter().map(|[a, b, c, d, ..]| u32::from_le_bytes([*a, *b, *c, *d])).collect()
}

/// Returns the smallest UUID of version 7 with this time: its first six bytes are the milliseconds (RFC 9562, section 5.7).
pub(crate) fn first_id_at(time: SystemTime) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&unix_millis(time).to_be_bytes()[2..]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_id_sorts_between_ids_of_adjacent_times() {
        let millisecond = Duration::from_millis(1);
        let before = SystemTime::now();
        let id = uuid::Uuid::now_v7().into_bytes();
        assert!(first_id_at(before) <= id);
        assert!(id < first_id_at(SystemTime::now() + 2 * millisecond));
    }
}
