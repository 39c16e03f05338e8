//! Sets up `tracing`: text or JSON lines to standard error, and optionally to a rolling file.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::{FilterExt, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::dropped_lines::{self, DroppedLinesReporter, LogOutput};
use super::escaping_writer::EscapingWriter;
use super::rate_limit::RateLimitFilter;
use super::rolling_file::{Retention, RollingFile};
use super::target;

/// The number of lines that wait for a slow reader of an output. Further lines are dropped; requests never wait.
const QUEUE_LINES: usize = 16_384;

/// How often [`LogReporter`] reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Level, format and destinations of the log.
#[derive(Clone, Debug)]
pub struct Config {
    /// Levels, as `tracing` directives: `info`, or `warn,kiln=debug`.
    pub level: LogLevel,
    /// Format of each line.
    pub format: LogFormat,
    /// A file to write to besides standard error. The day (UTC) is appended to its name.
    pub file: Option<PathBuf>,
    /// The maximum number of such files.
    pub max_files: usize,
    /// The maximum size of one file, in bytes. A day with more has several files.
    pub file_max_bytes: u64,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// An error from [`init`].
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The log file cannot be opened.
    #[error("cannot log to {}: {reason}", path.display())]
    File {
        /// The path as configured.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The system cannot start a thread.
    #[error("cannot start a thread for the log: {0}")]
    Thread(#[source] std::io::Error),
}

/// Levels for the whole program or for single targets, as valid `tracing` directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

/// The error for a text that is not a valid log level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be error, warn, info, debug, trace, off, or directives such as 'warn,kiln=debug'")]
pub struct InvalidLogLevel;

impl LogLevel {
    /// Returns the filter for the subscriber.
    ///
    /// At every level the lines of a request have its ID, and dropped or suppressed lines are reported, unless the
    /// directives name these targets.
    pub(super) fn filter(&self) -> EnvFilter {
        EnvFilter::new(format!("{}=error,{}=warn,{}", target::REQUEST, target::LOG, self.0))
    }
}

impl FromStr for LogLevel {
    type Err = InvalidLogLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `EnvFilter` would read an unknown word as a target, and disable all other targets.
        let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        let is_valid = |part: &str| part.contains('=') || is_level(part.trim());
        if !text.split(',').all(is_valid) || EnvFilter::try_new(text).is_err() {
            return Err(InvalidLogLevel);
        }
        Ok(Self(text.to_string()))
    }
}

/// Reports dropped and suppressed lines and flushes the log when it is dropped.
#[derive(Debug)]
#[must_use = "without the guard the last lines are lost"]
#[expect(dead_code, reason = "the fields are only dropped, in this order")]
pub struct LogGuard(LogReporter, Vec<WorkerGuard>);

/// Installs the process-wide subscriber. Keep the guard until the process ends.
///
/// Separate threads write the lines, so that a terminal or pipe that is not read does not block a request.
///
/// # Errors
///
/// Returns an error if the file cannot be opened or a thread cannot be started.
pub fn init(config: &Config) -> Result<LogGuard, LoggingError> {
    let mut started = vec![LogOutput::start("stderr", std::io::stderr(), QUEUE_LINES)];
    if let Some(path) = &config.file {
        let retention = Retention { max_files: config.max_files, max_file_bytes: config.file_max_bytes };
        started.push(LogOutput::start("file", open_file(path, retention)?, QUEUE_LINES));
    }
    let (mut outputs, mut layers, mut guards) = (Vec::new(), Vec::new(), Vec::new());
    for (output, writer, guard) in started {
        outputs.push(output);
        layers.push(layer(config.format, EscapingWriter(writer)));
        guards.push(guard);
    }
    dropped_lines::set_outputs(&outputs);
    let rate_limit = RateLimitFilter::new();
    let filter = config.level.filter().and(rate_limit.clone());
    // If a subscriber is installed already (in tests), it stays.
    let _ = tracing_subscriber::registry().with(layers.with_filter(filter)).try_init();
    log_panics();
    let dropped_lines = DroppedLinesReporter::new(outputs);
    let reporter = LogReporter::start(rate_limit, dropped_lines).map_err(LoggingError::Thread)?;
    Ok(LogGuard(reporter, guards))
}

/// Logs panics like other events, with the ID of the request that panicked.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("(not a string)");
        let place = panic.location().map(tracing::field::display);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
        tracing::error!(place, backtrace, panic = message, "panicked");
    }));
}

/// Returns a layer that writes lines in `format`.
pub(super) fn layer<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(false).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    }
}

fn open_file(path: &Path, retention: Retention) -> Result<RollingFile, LoggingError> {
    let error = |reason: String| LoggingError::File { path: path.to_path_buf(), reason };
    // Folders are not created: a missing one is probably a typing error.
    let file_name = path.file_name().filter(|_| !path.is_dir() && !path.as_os_str().as_encoded_bytes().ends_with(b"/"));
    let name = file_name.ok_or_else(|| error("it is a folder; name a file in it".to_string()))?;
    let name = name.to_str().ok_or_else(|| error("its name is not UTF-8".to_string()))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Err(error(format!("there is no folder {}", directory.display())));
    }
    RollingFile::open(directory, name, retention).map_err(|e| error(e.to_string()))
}

/// A thread that periodically logs how many lines were dropped or suppressed, and once more when it is dropped.
///
/// It runs outside the subscriber: a layer that logs would call itself.
#[derive(Debug)]
struct LogReporter {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LogReporter {
    fn start(rate_limit: RateLimitFilter, mut dropped_lines: DroppedLinesReporter) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("log-reporter".to_string()).spawn(move || {
            loop {
                let at_end = stopped.recv_timeout(REPORT_INTERVAL) != Err(RecvTimeoutError::Timeout);
                let now = Instant::now();
                rate_limit.report(now, at_end);
                dropped_lines.report(now, at_end);
                if at_end {
                    break;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for LogReporter {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, only its last report is lost.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_accepted() {
        for text in ["info", "WARN", "off", "warn,kiln=debug", "warn,kiln::app=info", "info,[request{id=7}]=trace"] {
            assert!(text.parse::<LogLevel>().is_ok(), "{text}");
        }
    }

    #[test]
    fn words_that_would_disable_the_log_are_refused() {
        for text in ["", "loud", "verbose", "warn,kiln", "warn,,info", "kiln=loud", "warning"] {
            assert_eq!(text.parse::<LogLevel>(), Err(InvalidLogLevel), "{text:?}");
        }
    }

    #[test]
    fn folder_or_file_in_a_missing_folder_is_refused_and_nothing_is_created() {
        let directory = tempfile::tempdir().unwrap();
        let refusal =
            |path: &Path| open_file(path, Retention { max_files: 1, max_file_bytes: 1 }).unwrap_err().to_string();
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
