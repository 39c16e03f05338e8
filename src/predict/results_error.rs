//! Why a results file cannot be written or continued. Each message names the next step.

use std::io;
use std::path::PathBuf;

/// Why a results file cannot be written or continued.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file exists.
    #[error("{} exists. Continue it with --resume, or replace it with --overwrite.", .0.display())]
    Exists(PathBuf),
    /// Another process writes the file.
    #[error("another process writes {}; wait for it, or choose another file", .0.display())]
    Locked(PathBuf),
    /// The existing file does not begin with the columns of this run.
    #[error(
        "{} cannot be continued, because its first line is not '{columns}'. Use the --top-k of its first run, or replace it \
         with --overwrite.",
        path.display()
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// The first line that this run would write.
        columns: String,
    },
    /// The existing file has rows of another model.
    #[error(
        "{} cannot be continued, because it has rows of the model {found}, and this is {expected}. Select the same model, or \
         replace the file with --overwrite.",
        path.display()
    )]
    Model {
        /// The file.
        path: PathBuf,
        /// Name and version of the model in the file.
        found: String,
        /// Name and version of the model of this run.
        expected: String,
    },
    /// A line of the existing file is not a row.
    #[error(
        "{} cannot be continued, because line {line} is not a row of 'kiln predict': {reason}. Correct the file, or replace it \
         with --overwrite.",
        path.display()
    )]
    NotARow {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// The reason.
        reason: String,
    },
    /// A Parquet file exists, but the rows that a run would continue do not.
    #[error(
        "{} cannot be continued, because its rows are not in {}. Replace it with --overwrite.",
        path.display(),
        rows.display()
    )]
    NoRows {
        /// The Parquet file.
        path: PathBuf,
        /// The file with the rows.
        rows: PathBuf,
    },
    /// The rows cannot be converted to Parquet.
    #[error(
        "cannot write {}: {reason}. All rows are in {}; --resume converts them again.",
        path.display(),
        rows.display()
    )]
    Convert {
        /// The file with the rows.
        rows: PathBuf,
        /// The Parquet file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The file cannot be opened.
    #[error("cannot open {}: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// The file cannot be read or written.
    #[error("cannot write {}: {reason}. The rows until then are complete; --resume continues.", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
}
