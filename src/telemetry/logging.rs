//! Sets up `tracing`: text or JSON to standard error, and to a daily file where one is asked for.

use std::path::{Path, PathBuf};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::daily_file::DailyFile;
pub use super::level::{LogLevel, UnknownLevel};

/// What is logged, how and where to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Levels, as `tracing` directives: `info`, or `warn,kiln=debug`.
    pub level: LogLevel,
    /// Shape of each line.
    pub format: LogFormat,
    /// A file beside standard error; a date is appended to its name each day.
    pub file: Option<PathBuf>,
    /// How many daily files are kept.
    pub files_kept: usize,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The file cannot be opened.
    #[error("cannot log to {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Lines that wait for a reader of the log who does not keep up; what is more is lost, and the server goes on.
const WAITING_LINES: usize = 16_384;

/// Writes the last lines out when it is dropped.
#[derive(Debug)]
#[must_use = "without it the last lines are lost"]
pub struct LogGuard(#[expect(dead_code, reason = "it is there to be dropped")] Vec<WorkerGuard>);

/// Installs the process-wide subscriber. Keep the guard until the end.
///
/// Lines are written by threads of their own: a terminal or a pipe that is not read must not stop a request.
///
/// # Errors
///
/// The file cannot be opened.
pub fn init(config: &Config) -> Result<LogGuard, LoggingError> {
    let (writer, guard) = background(std::io::stderr());
    let mut layers = vec![layer(config.format, writer)];
    let mut guards = vec![guard];
    if let Some(path) = &config.file {
        let (writer, guard) = background(daily_file(path, config.files_kept)?);
        guards.push(guard);
        layers.push(layer(config.format, writer));
    }
    // A second initialisation in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(layers.with_filter(config.level.filter())).try_init();
    Ok(LogGuard(guards))
}

fn background(writer: impl std::io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).lossy(true).finish(writer)
}

fn layer(format: LogFormat, writer: NonBlocking) -> Box<dyn Layer<Registry> + Send + Sync> {
    match format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(false).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    }
}

fn daily_file(path: &Path, kept: usize) -> Result<DailyFile, LoggingError> {
    let refuse = |reason: String| LoggingError::File { path: path.to_path_buf(), reason };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| refuse("no file name".to_string()))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The appender would create what a slip of the finger names, and write beside a folder.
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(refuse("it is a folder; name a file in it".to_string()));
    }
    if !directory.is_dir() {
        return Err(refuse(format!("there is no folder {}", directory.display())));
    }
    DailyFile::open(directory, name, kept).map_err(|e| refuse(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_a_file_in_no_folder_are_refused_and_nothing_is_created() {
        let directory = tempfile::tempdir().unwrap();
        let refusal = |path: &Path| daily_file(path, 1).unwrap_err().to_string();
        assert!(refusal(directory.path()).contains("it is a folder"));
        assert!(refusal(&directory.path().join("logs/")).contains("it is a folder"));
        assert!(refusal(&directory.path().join("typo/app.log")).contains("there is no folder"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
