//! Errors: why the data folder cannot be opened, why reading fails, and why feedback is rejected.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use uuid::Uuid;

use crate::schema::DATABASE_FILE;

/// Why the data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be read or written.
    #[error("--data-dir {folder}: {error}. This user must be able to write to the folder.", folder = folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// Another server holds the lock of the folder.
    #[error("--data-dir {folder} is used by another server. Give each server its own folder.", folder = .0.display())]
    InUse(PathBuf),
    /// The folder has no database.
    #[error("{file} does not exist. Name the folder of a server that was started with --data-dir.", file = .0.display())]
    Missing(PathBuf),
    /// A newer program wrote the database.
    #[error(
        "{file} was written by a newer kiln (format {found}; this program supports up to {supported}). Use that version of \
         kiln, or another --data-dir.", file = file.display()
    )]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest supported format.
        supported: i64,
    },
    /// An older program wrote the database, and a reader cannot migrate it.
    #[error("{file} was written by an older kiln. Start the server once with this --data-dir to upgrade the file.", file = .0.display())]
    Older(PathBuf),
    /// The file is not a database, or it is corrupt.
    #[error("{file} is damaged: {reason}. Restore it from a backup, or move it away to start with an empty database.", file = file.display())]
    Damaged {
        /// The database.
        file: PathBuf,
        /// SQLite's description of the damage.
        reason: String,
    },
    /// The operating system refuses the writer's thread.
    #[error(
        "the operating system refuses a thread for the recorder of predictions: {0}. Raise the limit on threads: 'ulimit -u', or \
         the limit on processes of the container."
    )]
    Thread(io::Error),
    /// SQLite failed for another reason.
    #[error("cannot open {file}: {error}", file = file.display())]
    Database {
        /// The database.
        file: PathBuf,
        /// The cause.
        error: rusqlite::Error,
    },
}

impl OpenError {
    /// Wraps an I/O error on the folder or on a file in it.
    pub(crate) fn folder(folder: &Path, error: io::Error) -> Self {
        Self::Folder { folder: folder.to_path_buf(), error }
    }

    /// Wraps an SQLite error on the database in `folder`.
    pub(crate) fn database(folder: &Path, error: rusqlite::Error) -> Self {
        let file = folder.join(DATABASE_FILE);
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { file, reason: error.to_string() }
            }
            _ => Self::Database { file, error },
        }
    }
}

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite failed.
    #[error("cannot read feedback: {0}")]
    Database(#[from] rusqlite::Error),
    /// The callback that receives the rows failed.
    #[error(transparent)]
    Callback(#[from] io::Error),
    /// The runtime cancelled the read because the server is shutting down.
    #[error("reading was cancelled")]
    Cancelled,
}

/// Why feedback is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackError {
    /// The prediction was not recorded here, or it was deleted since.
    #[error("unknown or expired prediction id '{0}'")]
    UnknownPrediction(Uuid),
    /// The model has no class with this id.
    #[error("model '{model}' has no class {class_id}")]
    UnknownClass {
        /// The model of the prediction.
        model: String,
        /// The id from the request.
        class_id: u32,
    },
    /// The model has no class with this label.
    #[error("model '{model}' has no class with that label")]
    UnknownLabel {
        /// The model of the prediction.
        model: String,
    },
    /// The model has several classes with this label.
    #[error("model '{model}' has several classes with that label, {first} and {second} among them; send the class_id")]
    AmbiguousLabel {
        /// The model of the prediction.
        model: String,
        /// The id of the first such class.
        first: u32,
        /// The id of another such class.
        second: u32,
    },
    /// The store cannot write at the moment. The log has the cause.
    #[error("feedback cannot be stored at the moment; try again later")]
    Unavailable,
}
