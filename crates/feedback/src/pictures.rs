//! Pictures that are kept: files named by their SHA-256, so that one that is sent again takes no more room, and rows that tell
//! when they were last sent. A file of that kind without a row is nobody's and is deleted at the next start.
//! Which pictures come here is for `choice.rs` to say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Transaction, params};
use sha2::{Digest, Sha256};

use super::Config;
use super::database::OpenError;
use super::files::{self, Row};
use super::picture::{FOLDER, Picture};
use super::writer::millis;
use kiln_runtime::telemetry::metrics::{self, RecordKind};

/// The most pictures that are looked up at once, and that one transaction lets go for their age, so that feedback never waits
/// long behind it. For want of room it lets go of as many as it takes, or the limit would be none.
const MOST: usize = 256;

/// The writer's side of them.
#[derive(Debug)]
pub(super) struct Shelf {
    data: PathBuf,
    kept_for: Duration,
    kept_bytes: u64,
    /// Of all pictures, by the last commit.
    bytes: u64,
    /// What the transaction under way has made of that.
    bytes_now: u64,
    /// Files that go when it is committed.
    gone: Vec<PathBuf>,
    /// Files that go when it is not.
    written: Vec<PathBuf>,
}

impl Shelf {
    /// Makes files and rows agree: what a process that was killed has left is cleared away.
    pub(super) fn open(config: &Config, connection: &mut Connection) -> Result<Self, OpenError> {
        let data = config.folder.clone();
        let database = |error| OpenError::database(&config.folder, error);
        let mut rows = rows(connection).map_err(database)?;
        let folder = data.join(FOLDER);
        files::tidy(&folder, &mut rows).map_err(|error| OpenError::folder(&folder, error))?;
        forget(connection, rows.values()).map_err(database)?;
        let sum = "SELECT coalesce(sum(bytes), 0) FROM pictures";
        let bytes: i64 = connection.query_row(sum, [], |row| row.get(0)).map_err(database)?;
        let bytes = bytes.unsigned_abs();
        metrics::stored_images_bytes(bytes);
        let (kept_for, kept_bytes) = (config.image_retention, config.image_retention_bytes);
        let (gone, written) = (Vec::new(), Vec::new());
        let mut shelf = Self { data, kept_for, kept_bytes, bytes, bytes_now: bytes, gone, written };
        // Where fewer may be kept than before, nobody waits for it now.
        shelf.shrink(connection).map_err(database)?;
        Ok(shelf)
    }

    fn shrink(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        self.make_room(&transaction)?;
        transaction.commit()?;
        self.committed();
        Ok(())
    }

    /// Keeps a picture, and gives back its digest. A file that cannot be written costs nothing but the picture. The database's
    /// errors are the transaction's: SQLite may have ended it.
    pub(super) fn put(
        &mut self,
        transaction: &Transaction<'_>,
        bytes: &[u8],
        extension: &str,
    ) -> rusqlite::Result<Option<[u8; 32]>> {
        let sha256: [u8; 32] = Sha256::digest(bytes).into();
        let now = millis(SystemTime::now());
        let seen = "UPDATE pictures SET time = ? WHERE sha256 = ?";
        if transaction.prepare_cached(seen)?.execute(params![now, sha256])? == 0 {
            let picture = Picture { sha256, extension: extension.to_string() };
            let path = picture.path(&self.data);
            if let Err(error) = files::write(&path, bytes) {
                tracing::warn!(%error, "a picture cannot be kept");
                metrics::record_dropped(RecordKind::Image, "failed", 1);
                return Ok(None);
            }
            self.written.push(path);
            // It may have been let go, and come again.
            let insert = "INSERT INTO pictures (sha256, extension, bytes, time, judged) VALUES (?1, ?2, ?3, ?4, \
                          EXISTS (SELECT 1 FROM predictions WHERE picture = ?1 AND judged = 1))";
            transaction.prepare_cached(insert)?.execute(params![sha256, extension, bytes.len() as i64, now])?;
            self.bytes_now += bytes.len() as u64;
        }
        Ok(Some(sha256))
    }

    /// Lets go what was last sent too long ago, and gives back whether there may be more.
    pub(super) fn evict_old(&mut self, transaction: &Transaction<'_>, now: SystemTime) -> rusqlite::Result<bool> {
        let then = now.checked_sub(self.kept_for).map_or(0, millis);
        let mut more = false;
        // Each by itself, or the index would not help.
        for judged in [0, 1] {
            let old =
                "SELECT sha256, extension, bytes FROM pictures WHERE judged = ? AND time < ? ORDER BY time LIMIT ?";
            more |= self.delete(transaction, old, params![judged, then, MOST as i64], false)? == MOST;
        }
        Ok(more)
    }

    /// Makes room where there is too much, oldest first: those without feedback before the others.
    pub(super) fn make_room(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let first = "SELECT sha256, extension, bytes FROM pictures ORDER BY judged, time LIMIT ?";
        while self.bytes_now > self.kept_bytes && self.delete(transaction, first, params![MOST as i64], true)? > 0 {}
        Ok(())
    }

    /// Deletes those that `sql` finds, until there is room again if it is for that, and gives back how many it has found.
    fn delete(
        &mut self,
        transaction: &Transaction<'_>,
        sql: &str,
        parameters: impl rusqlite::Params,
        for_room: bool,
    ) -> rusqlite::Result<usize> {
        let mut found = transaction.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok((Picture { sha256: row.get(0)?, extension: row.get(1)? }, row.get::<_, i64>(2)?))
        };
        let found: Vec<_> = found.query_map(parameters, read)?.collect::<Result<_, _>>()?;
        let count = found.len();
        for (picture, bytes) in found {
            if for_room && self.bytes_now <= self.kept_bytes {
                break;
            }
            transaction.prepare_cached("DELETE FROM pictures WHERE sha256 = ?")?.execute([picture.sha256])?;
            self.bytes_now = self.bytes_now.saturating_sub(bytes.unsigned_abs());
            self.gone.push(picture.path(&self.data));
        }
        Ok(count)
    }

    /// The transaction holds: files whose rows are gone go too.
    pub(super) fn committed(&mut self) {
        self.written.clear();
        self.gone.drain(..).for_each(|path| remove(&path));
        if self.bytes != self.bytes_now {
            self.bytes = self.bytes_now;
            metrics::stored_images_bytes(self.bytes);
        }
    }

    /// The transaction does not hold: files that it has written are nobody's, and no limit counts them.
    pub(super) fn rolled_back(&mut self) {
        self.gone.clear();
        self.written.drain(..).for_each(|path| remove(&path));
        self.bytes_now = self.bytes;
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "a picture cannot be deleted");
    }
}

/// The pictures that have rows, by where their files lie.
fn rows(connection: &Connection) -> rusqlite::Result<HashMap<String, Row>> {
    let mut statement = connection.prepare("SELECT sha256, extension, bytes FROM pictures")?;
    let read = |row: &rusqlite::Row<'_>| {
        let picture = Picture { sha256: row.get(0)?, extension: row.get(1)? };
        let bytes = row.get::<_, i64>(2)?.unsigned_abs();
        Ok((picture.place(), Row { sha256: picture.sha256, bytes }))
    };
    statement.query_map([], read)?.collect()
}

/// Deletes the rows of files that are lost.
fn forget<'a>(connection: &mut Connection, lost: impl Iterator<Item = &'a Row>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for row in lost {
        transaction.execute("DELETE FROM pictures WHERE sha256 = ?", [row.sha256])?;
    }
    transaction.commit()
}
