//! Lines that nobody will read: those that found no room, for a reader who does not keep up, and those that could not be
//! written, for a full disk.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::target;

/// The least time between two lines that tell of lost ones.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Those of the process's log.
static OUTPUTS: OnceLock<Vec<Output>> = OnceLock::new();

/// Lines of the log that were lost so far, in all places that they go to.
pub(super) fn lines_lost() -> u64 {
    OUTPUTS.get().map_or(0, |outputs| outputs.iter().map(Output::lost).sum())
}

/// Has [`lines_lost`] count these. The first call in a process counts.
pub(super) fn watch(outputs: &[Output]) {
    let _ = OUTPUTS.set(outputs.to_vec());
}

/// A place that lines go to.
#[derive(Clone, Debug)]
pub(super) struct Output {
    name: &'static str,
    without_room: ErrorCounter,
    unwritten: Arc<AtomicU64>,
}

impl Output {
    /// Writes to `writer` in a thread of its own, and lets at most `waiting` lines wait for it.
    pub(super) fn begin(
        name: &'static str,
        writer: impl Write + Send + 'static,
        waiting: usize,
    ) -> (Self, NonBlocking, WorkerGuard) {
        let unwritten = Arc::new(AtomicU64::new(0));
        let writer = Counting { inner: writer, unwritten: Arc::clone(&unwritten) };
        let (lines, guard) =
            NonBlockingBuilder::default().buffered_lines_limit(waiting).lossy(true).thread_name("log").finish(writer);
        (Self { name, without_room: lines.error_counter(), unwritten }, lines, guard)
    }

    pub(super) fn lost(&self) -> u64 {
        self.without_room.dropped_lines() as u64 + self.unwritten.load(Ordering::Relaxed)
    }
}

/// Counts what cannot be written. The thread that writes has nobody to tell.
struct Counting<W> {
    inner: W,
    unwritten: Arc<AtomicU64>,
}

impl<W: Write> Write for Counting<W> {
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

/// Tells of lost lines in the log itself, until a line that does so is not lost too.
#[derive(Debug)]
pub(super) struct Teller(Vec<Told>);

#[derive(Debug)]
struct Told {
    output: Output,
    lost: u64,
    next: Option<Instant>,
}

impl Teller {
    pub(super) fn of(outputs: Vec<Output>) -> Self {
        Self(outputs.into_iter().map(|output| Told { output, lost: 0, next: None }).collect())
    }

    /// Tells of what was lost since the last time, if there has been no such line lately, or at the end.
    pub(super) fn tell(&mut self, now: Instant, end: bool) {
        for told in &mut self.0 {
            let lost = told.output.lost();
            let is_due = end || told.next.is_none_or(|next| now >= next);
            if lost == told.lost || !is_due {
                continue;
            }
            told.next = Some(now + TOLD_EVERY);
            let (output, lines) = (told.output.name, lost - told.lost);
            tracing::warn!(target: target::LOG, output, lines, lines_in_all = lost, "lines of the log were lost");
            if told.output.lost() == lost {
                told.lost = lost;
            }
        }
    }
}
