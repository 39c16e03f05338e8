//! Counts log lines that are dropped, and logs how many. Lines are dropped if the queue of an output is full because its
//! reader is too slow, or if they cannot be written, for example to a full disk.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::target;

/// The minimum time between two lines that report dropped lines of one output.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The outputs of the process's log.
static OUTPUTS: OnceLock<Vec<LogOutput>> = OnceLock::new();

/// Returns the number of log lines dropped so far, over all outputs.
pub(super) fn lines_dropped() -> u64 {
    OUTPUTS.get().map_or(0, |outputs| outputs.iter().map(LogOutput::dropped).sum())
}

/// Sets the outputs that [`lines_dropped`] counts. Only the first call in a process has an effect.
pub(super) fn set_outputs(outputs: &[LogOutput]) {
    let _ = OUTPUTS.set(outputs.to_vec());
}

/// A destination of log lines, such as standard error.
#[derive(Clone, Debug)]
pub(super) struct LogOutput {
    name: &'static str,
    queue_full: ErrorCounter,
    unwritten: Arc<AtomicU64>,
}

impl LogOutput {
    /// Starts a thread that writes to `writer`. At most `queue_lines` lines wait for it; further lines are dropped.
    pub(super) fn start(
        name: &'static str,
        writer: impl Write + Send + 'static,
        queue_lines: usize,
    ) -> (Self, NonBlocking, WorkerGuard) {
        let unwritten = Arc::new(AtomicU64::new(0));
        let writer = CountingWriter { inner: writer, unwritten: Arc::clone(&unwritten) };
        let builder = NonBlockingBuilder::default().buffered_lines_limit(queue_lines).lossy(true).thread_name("log");
        let (lines, guard) = builder.finish(writer);
        (Self { name, queue_full: lines.error_counter(), unwritten }, lines, guard)
    }

    /// Returns the number of lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.queue_full.dropped_lines() as u64 + self.unwritten.load(Ordering::Relaxed)
    }
}

/// Counts the lines that cannot be written. The writing thread cannot return an error to the code that logs.
struct CountingWriter<W> {
    inner: W,
    unwritten: Arc<AtomicU64>,
}

impl<W: Write> Write for CountingWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.inner.write_all(line).is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Logs how many lines were dropped, and repeats a report that was itself dropped.
#[derive(Debug)]
pub(super) struct DroppedLinesReporter(Vec<OutputReport>);

#[derive(Debug)]
struct OutputReport {
    output: LogOutput,
    /// The count of the last report that was not dropped.
    reported: u64,
    next_report: Option<Instant>,
}

impl DroppedLinesReporter {
    pub(super) fn new(outputs: Vec<LogOutput>) -> Self {
        Self(outputs.into_iter().map(|output| OutputReport { output, reported: 0, next_report: None }).collect())
    }

    /// Logs the number of lines dropped since the last report, unless that report is recent and `at_end` is false.
    pub(super) fn report(&mut self, now: Instant, at_end: bool) {
        for report in &mut self.0 {
            let dropped = report.output.dropped();
            let is_due = at_end || report.next_report.is_none_or(|next| now >= next);
            if dropped == report.reported || !is_due {
                continue;
            }
            report.next_report = Some(now + REPORT_INTERVAL);
            let (output, lines) = (report.output.name, dropped - report.reported);
            tracing::warn!(target: target::LOG, output, lines, lines_in_all = dropped, "log lines dropped");
            if report.output.dropped() == dropped {
                report.reported = dropped;
            }
        }
    }
}
