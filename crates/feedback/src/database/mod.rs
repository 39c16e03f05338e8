//! The database's file: how it is opened for the writer and for readers.
//!
//! SQLite in WAL mode: readers do not hold up the writer, nor it them, and `kiln feedback` may read while a server runs.
//!
//! | file | responsibility |
//! |---|---|
//! | `schema.rs` | the tables |
//! | `lock.rs` | one server a folder |
//! | `place.rs` | whether the open file is still in its place |
//! | `error.rs` | why the folder cannot be used |

mod error;
mod lock;
mod place;
mod schema;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::private;
pub use error::OpenError;
pub(super) use lock::Lock;
pub(super) use place::Place;

/// Its name in the folder.
const FILE: &str = "feedback.db";
/// How long another connection may be in the way: a checkpoint at another's end.
const BUSY: Duration = Duration::from_secs(5);
/// More than there are different ones, so that each is prepared once.
const STATEMENTS: usize = 32;

/// Opens the folder's database for writing and brings its schema up to date. The lock keeps other servers out.
pub(super) fn open(folder: &Path) -> Result<(Connection, Lock), OpenError> {
    let refused = |error| OpenError::folder(folder, error);
    private::make_folder(folder).map_err(refused)?;
    let lock = Lock::take(folder)?;
    let file = folder.join(FILE);
    // SQLite gives its log the mode of this file.
    private::make_file(&file).map_err(refused)?;
    let told = |error| OpenError::database(folder, error);
    let mut connection = Connection::open(&file).map_err(told)?;
    connection.busy_timeout(BUSY).map_err(told)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Before anything is written, so that a file of somebody else stays as it is.
    let version = version(&connection, folder)?;
    prepare(&connection).map_err(told)?;
    check(&connection, folder)?;
    schema::migrate(&mut connection, version).map_err(told)?;
    Ok((connection, lock))
}

/// Opens the folder's database for reading. It may be open for writing elsewhere.
pub(super) fn open_to_read(folder: &Path) -> Result<Connection, OpenError> {
    let file = folder.join(FILE);
    if !file.is_file() {
        return Err(OpenError::Missing(file));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let told = |error| OpenError::database(folder, error);
    let connection = Connection::open_with_flags(&file, flags).map_err(told)?;
    connection.busy_timeout(BUSY).map_err(told)?;
    match version(&connection, folder)? {
        schema::VERSION => Ok(connection),
        _ => Err(OpenError::Older(file)),
    }
}

fn version(connection: &Connection, folder: &Path) -> Result<i64, OpenError> {
    let found = connection.query_row("PRAGMA user_version", [], |row| row.get(0));
    let found = found.map_err(|error| OpenError::database(folder, error))?;
    if found > schema::VERSION {
        return Err(OpenError::Newer { file: folder.join(FILE), found, known: schema::VERSION });
    }
    Ok(found)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // Some file systems cannot have it, and SQLite answers with the mode that holds.
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(mode, "the file system of --data-dir has no shared memory; readers will hold up the writer");
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 16777216; \
         PRAGMA trusted_schema = OFF;",
    )
}

/// A damaged file is told at the start, and not by the first request that meets the damage.
fn check(connection: &Connection, folder: &Path) -> Result<(), OpenError> {
    let said = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    let said: String = said.map_err(|error| OpenError::database(folder, error))?;
    if said == "ok" { Ok(()) } else { Err(OpenError::Damaged { file: folder.join(FILE), reason: said }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_with_a_sentence_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
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
    fn a_page_that_was_overwritten_is_noticed_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let (connection, lock) = open(folder.path()).unwrap();
        drop((connection, lock));
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[4096..4196].fill(0xff);
        std::fs::write(&file, bytes).unwrap();
        let refused = open(folder.path()).map(drop).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    }

    #[test]
    fn readers_and_the_writer_do_not_exclude_each_other() {
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
        // Without a server too.
        assert_eq!(count(&open_to_read(folder.path()).unwrap()), 1);
    }
}
