//! Sets up `tracing`: text or JSON to standard error, and to a daily file where one is asked for.

use std::path::{Path, PathBuf};

use tracing_appender::non_blocking::WorkerGuard;
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

/// Installs the process-wide subscriber. Keep the guard until the end: dropping it writes out the file's last lines.
///
/// # Errors
///
/// The file cannot be opened.
pub fn init(config: &Config) -> Result<Option<WorkerGuard>, LoggingError> {
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![layer(config.format, std::io::stderr)];
    let mut guard = None;
    if let Some(path) = &config.file {
        let (writer, kept) = tracing_appender::non_blocking(daily_file(path, config.files_kept)?);
        guard = Some(kept);
        layers.push(layer(config.format, writer));
    }
    // A second initialisation in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(layers.with_filter(config.level.filter())).try_init();
    Ok(guard)
}

fn layer<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(false).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    }
}

fn daily_file(path: &Path, kept: usize) -> Result<DailyFile, LoggingError> {
    let refuse = |reason: String| LoggingError::File { path: path.to_path_buf(), reason };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| refuse("no file name".to_string()))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DailyFile::open(directory, name, kept).map_err(|e| refuse(e.to_string()))
}
