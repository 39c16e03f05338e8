//! Stores images and deletes old ones. A file is named by its SHA-256, so an image that is sent again takes no more space; its
//! row records when it was last sent. A file without a row is deleted at the next start.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kiln_runtime::telemetry::metrics::{self, RecordKind};
use rusqlite::{Connection, Transaction, params};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::error::OpenError;
use crate::image_files::{self, ExpectedFile, IMAGE_FOLDER, StoredImage};
use crate::private_fs::write_atomically;
use crate::schema::unix_millis;

/// Maximum number of images that one query returns, and that one transaction deletes because of their age: feedback waits for
/// the transaction. Deletion for space is not bounded, because the limit on bytes is strict.
const MAX_IMAGES_PER_QUERY: usize = 256;

/// The writer's access to the stored images.
#[derive(Debug)]
pub(crate) struct ImageStore {
    data_dir: PathBuf,
    retention: Duration,
    retention_bytes: u64,
    /// Bytes of all images as of the last commit.
    committed_bytes: u64,
    /// Bytes of all images as of the current transaction.
    bytes: u64,
    /// Files to delete when the transaction commits.
    delete_on_commit: Vec<PathBuf>,
    /// Files to delete if the transaction is rolled back.
    delete_on_rollback: Vec<PathBuf>,
}

impl ImageStore {
    /// Opens the store. Files and rows that a killed process left inconsistent are deleted, then images beyond the limit.
    pub(crate) fn open(config: &Config, connection: &mut Connection) -> Result<Self, OpenError> {
        let data_dir = config.data_dir.clone();
        let database_error = |error| OpenError::database(&config.data_dir, error);
        let mut rows = rows(connection).map_err(database_error)?;
        let folder = data_dir.join(IMAGE_FOLDER);
        image_files::remove_unexpected(&folder, &mut rows).map_err(|error| OpenError::folder(&folder, error))?;
        delete_rows(connection, rows.values()).map_err(database_error)?;
        let sum = "SELECT coalesce(sum(bytes), 0) FROM pictures";
        let bytes: i64 = connection.query_row(sum, [], |row| row.get(0)).map_err(database_error)?;
        let bytes = bytes.unsigned_abs();
        metrics::stored_images_bytes(bytes);
        let mut store = Self {
            data_dir,
            retention: config.image_retention,
            retention_bytes: config.image_retention_bytes,
            committed_bytes: bytes,
            bytes,
            delete_on_commit: Vec::new(),
            delete_on_rollback: Vec::new(),
        };
        // If the limit was lowered, this is the best time to delete: no client waits.
        store.shrink(connection).map_err(database_error)?;
        Ok(store)
    }

    fn shrink(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        self.evict_excess(&transaction)?;
        transaction.commit()?;
        self.on_commit();
        Ok(())
    }

    /// Stores an image and returns its digest. If the file cannot be written, logs that and returns nothing. An error is an
    /// error of the database, which may have ended the transaction.
    pub(crate) fn insert(
        &mut self,
        transaction: &Transaction<'_>,
        bytes: &[u8],
        extension: &str,
    ) -> rusqlite::Result<Option<[u8; 32]>> {
        let sha256: [u8; 32] = Sha256::digest(bytes).into();
        let now = unix_millis(SystemTime::now());
        let touch = "UPDATE pictures SET time = ? WHERE sha256 = ?";
        if transaction.prepare_cached(touch)?.execute(params![now, sha256])? == 0 {
            let image = StoredImage { sha256, extension: extension.to_string() };
            let path = image.path(&self.data_dir);
            if let Err(error) = write_atomically(&path, bytes) {
                tracing::warn!(%error, "image cannot be stored");
                metrics::record_dropped(RecordKind::Image, "failed", 1);
                return Ok(None);
            }
            self.delete_on_rollback.push(path);
            // An image that was deleted and is sent again may have feedback.
            let insert = "INSERT INTO pictures (sha256, extension, bytes, time, judged) VALUES (?1, ?2, ?3, ?4, \
                          EXISTS (SELECT 1 FROM predictions WHERE picture = ?1 AND judged = 1))";
            transaction.prepare_cached(insert)?.execute(params![sha256, extension, bytes.len() as i64, now])?;
            self.bytes += bytes.len() as u64;
        }
        Ok(Some(sha256))
    }

    /// Deletes images that were last sent too long ago. Returns whether there may be more of them.
    pub(crate) fn evict_expired(&mut self, transaction: &Transaction<'_>, now: SystemTime) -> rusqlite::Result<bool> {
        let oldest = now.checked_sub(self.retention).map_or(0, unix_millis);
        let mut has_more = false;
        // One query for each value of `judged`, because one query for both could not use the index.
        for judged in [0, 1] {
            let expired =
                "SELECT sha256, extension, bytes FROM pictures WHERE judged = ? AND time < ? ORDER BY time LIMIT ?";
            let parameters = params![judged, oldest, MAX_IMAGES_PER_QUERY as i64];
            has_more |= self.delete(transaction, expired, parameters, false)? == MAX_IMAGES_PER_QUERY;
        }
        Ok(has_more)
    }

    /// Deletes images until their total size is within the limit: first images without feedback, oldest first, then the others.
    pub(crate) fn evict_excess(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let first = "SELECT sha256, extension, bytes FROM pictures ORDER BY judged, time LIMIT ?";
        let limit = MAX_IMAGES_PER_QUERY as i64;
        while self.bytes > self.retention_bytes && self.delete(transaction, first, params![limit], true)? > 0 {}
        Ok(())
    }

    /// Deletes the images that `sql` selects, and returns the number of selected images. With `only_excess`, it stops as soon as
    /// the total size is within the limit.
    fn delete(
        &mut self,
        transaction: &Transaction<'_>,
        sql: &str,
        parameters: impl rusqlite::Params,
        only_excess: bool,
    ) -> rusqlite::Result<usize> {
        let mut statement = transaction.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok((StoredImage { sha256: row.get(0)?, extension: row.get(1)? }, row.get::<_, i64>(2)?))
        };
        let selected: Vec<_> = statement.query_map(parameters, read)?.collect::<Result<_, _>>()?;
        let count = selected.len();
        for (image, bytes) in selected {
            if only_excess && self.bytes <= self.retention_bytes {
                break;
            }
            transaction.prepare_cached("DELETE FROM pictures WHERE sha256 = ?")?.execute([image.sha256])?;
            self.bytes = self.bytes.saturating_sub(bytes.unsigned_abs());
            self.delete_on_commit.push(image.path(&self.data_dir));
        }
        Ok(count)
    }

    /// Deletes the files of deleted rows, after the transaction was committed.
    pub(crate) fn on_commit(&mut self) {
        self.delete_on_rollback.clear();
        self.delete_on_commit.drain(..).for_each(|path| remove(&path));
        if self.committed_bytes != self.bytes {
            self.committed_bytes = self.bytes;
            metrics::stored_images_bytes(self.bytes);
        }
    }

    /// Deletes the files that the transaction wrote, after it was rolled back: no row refers to them and no limit counts them.
    pub(crate) fn on_rollback(&mut self) {
        self.delete_on_commit.clear();
        self.delete_on_rollback.drain(..).for_each(|path| remove(&path));
        self.bytes = self.committed_bytes;
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "image cannot be deleted");
    }
}

/// Returns the rows of all images by the relative paths of their files.
fn rows(connection: &Connection) -> rusqlite::Result<HashMap<String, ExpectedFile>> {
    let mut statement = connection.prepare("SELECT sha256, extension, bytes FROM pictures")?;
    let read = |row: &rusqlite::Row<'_>| {
        let image = StoredImage { sha256: row.get(0)?, extension: row.get(1)? };
        let bytes = row.get::<_, i64>(2)?.unsigned_abs();
        Ok((image.relative_path(), ExpectedFile { sha256: image.sha256, bytes }))
    };
    statement.query_map([], read)?.collect()
}

/// Deletes the rows of missing files.
fn delete_rows<'a>(
    connection: &mut Connection,
    missing: impl Iterator<Item = &'a ExpectedFile>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for row in missing {
        transaction.execute("DELETE FROM pictures WHERE sha256 = ?", [row.sha256])?;
    }
    transaction.commit()
}
