//! The tables. Each migration brings a file from one format to the next; `user_version` tells how many it has had.
//!
//! Ids of predictions are UUIDs of version 7, so their order is that of time. Times are milliseconds since 1970.

use rusqlite::{Connection, TransactionBehavior};

/// In the order in which they were written. What was published once is never changed.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE models (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        -- Of weights and labels: with others it is another model, whatever its version says.
        digest TEXT NOT NULL,
        -- The higher, the later it was last served.
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
        -- For each class that was told: its index (u32) and its probability (f32), little-endian, most probable first.
        top BLOB NOT NULL,
        -- The SHA-256 of the picture, if it was kept then. The table of pictures tells whether it still is.
        picture BLOB,
        judged INTEGER NOT NULL DEFAULT 0 CHECK (judged IN (0, 1))
    ) STRICT, WITHOUT ROWID;
    -- Those that are let go, oldest first.
    CREATE INDEX predictions_unjudged ON predictions (id) WHERE judged = 0;
    -- Whether a picture that comes again has feedback.
    CREATE INDEX predictions_judged_pictures ON predictions (picture) WHERE judged = 1 AND picture IS NOT NULL;

    CREATE TABLE feedback (
        prediction BLOB PRIMARY KEY REFERENCES predictions,
        model INTEGER NOT NULL REFERENCES models,
        time INTEGER NOT NULL,
        verdict TEXT NOT NULL CHECK (verdict IN ('right', 'wrong', 'label')),
        -- For 'right' the class that was predicted; absent for 'wrong' alone.
        true_id INTEGER CHECK ((true_id IS NULL) = (verdict = 'wrong')),
        note TEXT,
        account TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX feedback_by_time ON feedback (model, time);

    -- The first predictions of each model: what later ones are compared with, however old those are.
    CREATE TABLE reference (
        model INTEGER NOT NULL REFERENCES models,
        place INTEGER NOT NULL,
        class_id INTEGER NOT NULL,
        probability REAL NOT NULL,
        PRIMARY KEY (model, place)
    ) STRICT, WITHOUT ROWID;

    -- The last predictions of each model, some of which are let go elsewhere: a ring of places, in the order of their numbers.
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
        -- When it was last sent.
        time INTEGER NOT NULL,
        -- Whether a prediction of it has feedback.
        judged INTEGER NOT NULL DEFAULT 0 CHECK (judged IN (0, 1))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX pictures_by_time ON pictures (judged, time);
"];

/// The format of this program.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// From `version` to [`VERSION`], all or nothing.
pub(super) fn migrate(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
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
