//! Opens the database for the writer and for readers, and locks the folder.
//!
//! SQLite runs in WAL mode: readers and the writer do not block each other, and `kiln feedback` can read while a server runs.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::error::OpenError;
use crate::private_fs;
use crate::schema::{self, DATABASE_FILE};

/// Name of the lock file in the data folder.
const LOCK_FILE: &str = "feedback.lock";
/// How long to wait for another connection, such as one that checkpoints as it closes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Capacity of the statement cache: larger than the number of different statements, so that each is prepared once.
const CACHED_STATEMENTS: usize = 32;

/// Locks the folder, opens its database for writing and migrates the schema.
pub(crate) fn open(folder: &Path) -> Result<(Connection, FolderLock), OpenError> {
    let folder_error = |error| OpenError::folder(folder, error);
    private_fs::create_dir_all(folder).map_err(folder_error)?;
    let lock = FolderLock::acquire(folder)?;
    let file = folder.join(DATABASE_FILE);
    // SQLite creates its log with the permissions of this file.
    private_fs::create_if_missing(&file).map_err(folder_error)?;
    let database_error = |error| OpenError::database(folder, error);
    let mut connection = Connection::open(&file).map_err(database_error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(database_error)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // The version is checked before the first write, so that a foreign file stays unchanged.
    let version = version(&connection, folder)?;
    configure(&connection).map_err(database_error)?;
    check_integrity(&connection, folder)?;
    schema::migrate(&mut connection, version).map_err(database_error)?;
    Ok((connection, lock))
}

/// Opens the folder's database for reading, while a server may write to it.
pub(crate) fn open_to_read(folder: &Path) -> Result<Connection, OpenError> {
    let file = folder.join(DATABASE_FILE);
    if !file.is_file() {
        return Err(OpenError::Missing(file));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database_error = |error| OpenError::database(folder, error);
    let connection = Connection::open_with_flags(&file, flags).map_err(database_error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(database_error)?;
    match version(&connection, folder)? {
        schema::VERSION => Ok(connection),
        _ => Err(OpenError::Older(file)),
    }
}

/// Returns the row of the model with this name and version that was served last. Models with other weights or labels may have
/// the same name and version.
pub(crate) fn latest_model_row(connection: &Connection, name: &str, version: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM models WHERE name = ? AND version = ? ORDER BY turn DESC LIMIT 1";
    connection.query_row(sql, [name, version], |row| row.get(0)).optional()
}

fn version(connection: &Connection, folder: &Path) -> Result<i64, OpenError> {
    let found = connection.query_row("PRAGMA user_version", [], |row| row.get(0));
    let found = found.map_err(|error| OpenError::database(folder, error))?;
    if found > schema::VERSION {
        return Err(OpenError::Newer { file: folder.join(DATABASE_FILE), found, supported: schema::VERSION });
    }
    Ok(found)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Some file systems do not support WAL. SQLite returns the mode that is in effect.
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(mode, "the file system of --data-dir has no shared memory; readers will block the writer");
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 16777216; \
         PRAGMA trusted_schema = OFF;",
    )
}

/// Checks the file when the server starts, so that damage is reported then and not by a later request.
fn check_integrity(connection: &Connection, folder: &Path) -> Result<(), OpenError> {
    let result = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    let result: String = result.map_err(|error| OpenError::database(folder, error))?;
    if result == "ok" { Ok(()) } else { Err(OpenError::Damaged { file: folder.join(DATABASE_FILE), reason: result }) }
}

/// Locks a data folder for one server, because each server assumes that no other one deletes records. The operating system
/// releases the lock when the process ends, even if it crashes.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "the open file holds the lock")] File);

impl FolderLock {
    fn acquire(folder: &Path) -> Result<Self, OpenError> {
        let folder_error = |error| OpenError::folder(folder, error);
        let file = private_fs::write_options().create(true).truncate(false).open(folder.join(LOCK_FILE));
        let file = file.map_err(folder_error)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_path_buf())),
            Err(TryLockError::Error(error)) => Err(folder_error(error)),
        }
    }
}

/// Identifies the open database file, to detect that the folder was removed or replaced: SQLite would go on and write to a file
/// that has no path any more.
#[derive(Debug)]
pub(crate) struct FileIdentity {
    file: PathBuf,
    opened: Identity,
}

/// Device and inode.
#[cfg(unix)]
type Identity = (u64, u64);
/// Whether the file exists. Systems other than Unix usually do not allow to remove an open file.
#[cfg(not(unix))]
type Identity = bool;

impl FileIdentity {
    /// Returns the identity of the database in `folder`, which was just opened.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let file = folder.join(DATABASE_FILE);
        Ok(Self { opened: identity(&file)?, file })
    }

    /// Returns whether the path still leads to the open file.
    pub(crate) fn is_current(&self) -> bool {
        identity(&self.file).is_ok_and(|identity| identity == self.opened)
    }
}

#[cfg(unix)]
fn identity(file: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(file).map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(file: &Path) -> io::Result<Identity> {
    std::fs::metadata(file).map(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_folder_is_refused_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(DATABASE_FILE);
        assert!(matches!(open_to_read(folder.path()), Err(OpenError::Missing(_))));
        let (connection, lock) = open(folder.path()).unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::InUse(_))));
        connection.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
        drop((connection, lock));
        for refused in [open(folder.path()).map(drop), open_to_read(folder.path()).map(drop)] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, OpenError::Newer { .. }), "{refused}");
            assert!(refused.to_string().contains("newer kiln"), "{refused}");
        }
        std::fs::write(&file, [b"no database at all".as_slice(), &[7; 4096]].concat()).unwrap();
        let before = std::fs::read(&file).unwrap();
        let refused = open(folder.path()).map(drop).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn overwritten_page_is_reported_when_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(DATABASE_FILE);
        let (connection, lock) = open(folder.path()).unwrap();
        drop((connection, lock));
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[4096..4196].fill(0xff);
        std::fs::write(&file, bytes).unwrap();
        let refused = open(folder.path()).map(drop).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    }

    #[test]
    fn readers_and_the_writer_do_not_block_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, lock) = open(folder.path()).unwrap();
        let reader = open_to_read(folder.path()).unwrap();
        writer.execute("INSERT INTO models (name, version, digest, turn) VALUES ('cat', '1', '', 1)", []).unwrap();
        let count = |connection: &Connection| -> i64 {
            connection.query_row("SELECT count(*) FROM models", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(count(&reader), 1);
        assert!(reader.execute("DELETE FROM models", []).is_err());
        drop((reader, writer, lock));
        // Reading works without a server too.
        assert_eq!(count(&open_to_read(folder.path()).unwrap()), 1);
    }
}
