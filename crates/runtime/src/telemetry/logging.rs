//! Sets up `tracing`: text or JSON to standard error, and to a daily file where one is asked for.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::path::{Path, PathBuf};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::daily_file::{DailyFile, Kept};
use super::keeper::Keeper;
pub use super::level::{LogLevel, UnknownLevel};
use super::lost::{self, Output, Teller};
use super::one_line::OneLine;
use super::throttle::Throttle;

/// What is logged, how and where to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Levels, as `tracing` directives: `info`, or `warn,kiln=debug`.
    pub level: LogLevel,
    /// Shape of each line.
    pub format: LogFormat,
    /// A file beside standard error; the day (UTC) is appended to its name.
    pub file: Option<PathBuf>,
    /// How many such files are kept.
    pub files_kept: usize,
    /// The most bytes of one of them; a day with more has several.
    pub file_max_bytes: u64,
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
    /// There is no thread for it.
    #[error("cannot start a thread for the log: {0}")]
    Thread(#[source] std::io::Error),
}

/// Lines that wait for a reader of the log who does not keep up; what is more is lost, and the server goes on.
const WAITING_LINES: usize = 16_384;

/// Tells what was held back and writes the last lines out when it is dropped.
#[derive(Debug)]
#[must_use = "without it the last lines are lost"]
#[expect(dead_code, reason = "they are there to be dropped, in this order")]
pub struct LogGuard(Keeper, Vec<WorkerGuard>);

/// Installs the process-wide subscriber. Keep the guard until the end.
///
/// Lines are written by threads of their own: a terminal or a pipe that is not read must not stop a request.
///
/// # Errors
///
/// The file cannot be opened, or there is no thread.
pub fn init(config: &Config) -> Result<LogGuard, LoggingError> {
    let mut outputs = vec![Output::begin("stderr", std::io::stderr(), WAITING_LINES)];
    if let Some(path) = &config.file {
        let kept = Kept { files: config.files_kept, bytes_each: config.file_max_bytes };
        outputs.push(Output::begin("file", daily_file(path, kept)?, WAITING_LINES));
    }
    let (mut counted, mut layers, mut guards) = (Vec::new(), Vec::new(), Vec::new());
    for (output, writer, guard) in outputs {
        counted.push(output);
        layers.push(layer(config.format, OneLine(writer)));
        guards.push(guard);
    }
    lost::watch(&counted);
    let throttle = Throttle::new();
    let filter = config.level.filter().and(throttle.clone());
    // A second initialisation in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(layers.with_filter(filter)).try_init();
    log_panics();
    let keeper = Keeper::start(throttle, Teller::of(counted)).map_err(LoggingError::Thread)?;
    Ok(LogGuard(keeper, guards))
}

/// Panics are lines of the log like any other, with the ids of the request that they end.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or("no words");
        let place = panic.location().map(tracing::field::display);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
        tracing::error!(place, backtrace, "a panic: {words}");
    }));
}

/// Lines of that shape.
pub(super) fn layer<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(false).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    }
}

fn daily_file(path: &Path, kept: Kept) -> Result<DailyFile, LoggingError> {
    let refuse = |reason: String| LoggingError::File { path: path.to_path_buf(), reason };
    // What a slip of the finger names is not created, and a folder not written beside.
    let file_name = path.file_name().filter(|_| !path.is_dir() && !path.as_os_str().as_encoded_bytes().ends_with(b"/"));
    let name = file_name.ok_or_else(|| refuse("it is a folder; name a file in it".to_string()))?;
    let name = name.to_str().ok_or_else(|| refuse("its name is not UTF-8".to_string()))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
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
        let refusal = |path: &Path| daily_file(path, Kept { files: 1, bytes_each: 1 }).unwrap_err().to_string();
        assert!(refusal(directory.path()).contains("it is a folder"));
        assert!(refusal(&directory.path().join("logs/")).contains("it is a folder"));
        assert!(refusal(Path::new("/")).contains("it is a folder"));
        assert!(refusal(&directory.path().join("typo/app.log")).contains("there is no folder"));
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let name = std::ffi::OsStr::from_bytes(b"\xff.log");
            assert!(refusal(&directory.path().join(name)).contains("not UTF-8"));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
