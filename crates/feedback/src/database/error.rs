//! Why the folder cannot be used, in sentences for who gave it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::FILE;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it.
    #[error("--data-dir {folder}: {error}. The folder has to be one that this user may write to.", folder = folder.display())]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another server has it.
    #[error("--data-dir {folder} is used by another server. Give each server a folder of its own.", folder = .0.display())]
    InUse(PathBuf),
    /// There is none.
    #[error("{file} is not there. Give the folder of a server that was started with --data-dir.", file = .0.display())]
    Missing(PathBuf),
    /// A newer program has written it.
    #[error(
        "{file} was written by a newer kiln (its format is {found}, this program knows {known}). Use that program, or \
         another --data-dir.", file = file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// An older program has written it, and who reads cannot change it.
    #[error("{file} was written by an older kiln. Start the server once with this --data-dir, which brings it up to date.", file = .0.display())]
    Older(PathBuf),
    /// It is no database, or not in order.
    #[error("{file} is damaged: {reason}. Restore it from a copy, or move it away to begin anew.", file = file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// SQLite.
    #[error("{file} cannot be opened: {error}", file = file.display())]
    Database {
        /// The file.
        file: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
}

impl OpenError {
    /// What the system says of the folder.
    pub(in crate) fn folder(folder: &Path, error: io::Error) -> Self {
        Self::Folder { folder: folder.to_path_buf(), error }
    }

    /// What SQLite says of the database in that folder.
    pub(in crate) fn database(folder: &Path, error: rusqlite::Error) -> Self {
        let file = folder.join(FILE);
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { file, reason: error.to_string() }
            }
            _ => Self::Database { file, error },
        }
    }
}
