//! A log file a day (UTC), in parts where a day has much to tell, of which only the latest files are kept.
//!
//! The parts of a day are `<name>.<year>-<month>-<day>`, the same with `.1`, with `.2` and so on. Only names of that shape
//! are ever deleted. `tracing-appender` has no bound for bytes, and deletes whatever begins with the log's name.
//!
//! | file | responsibility |
//! |---|---|
//! | `mod.rs` | the file that is written to, and when it is another one |
//! | `part.rs` | the files by their names, and which of them go |

mod part;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use part::{Part, Parts, day};

/// How often it is looked whether the file is still where it was: somebody may delete it, or move it away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// So many files, the one that is written to among them.
    pub(super) files: usize,
    /// So many bytes in each, unless a single line has more.
    pub(super) bytes_each: u64,
}

/// Writes to the file of the day.
#[derive(Debug)]
pub(super) struct DailyFile {
    parts: Parts,
    kept: Kept,
    part: Part,
    file: File,
    bytes: u64,
    /// When it was last seen that the file is in its place; never, once it is not.
    seen: Option<SystemTime>,
}

impl DailyFile {
    /// Opens today's latest file in `directory` and deletes the oldest ones that are too many.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub(super) fn open(directory: &Path, name: &str, kept: Kept) -> io::Result<Self> {
        Self::open_at(directory, name, kept, SystemTime::now())
    }

    fn open_at(directory: &Path, name: &str, kept: Kept, now: SystemTime) -> io::Result<Self> {
        let parts = Parts::of(directory, name);
        let part = parts.latest(day(now));
        let (file, bytes) = append(&parts.path(part))?;
        parts.prune(kept.files, part);
        Ok(Self { parts, kept, part, file, bytes, seen: Some(now) })
    }

    fn write_at(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let today = day(now);
        // A clock that was set back does not bring back yesterday's file.
        if today > self.part.day {
            self.turn_to(self.parts.latest(today), now);
        }
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.kept.bytes_each {
            self.turn_to(Part { number: self.part.number + 1, ..self.part }, now);
        }
        self.stay_in_place(now)?;
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Begins the file anew where it is gone or another has its place: nobody would find what is written to the open one.
    ///
    /// # Errors
    ///
    /// It cannot be opened. Then the line has nowhere to go, and the next one tries again.
    fn stay_in_place(&mut self, now: SystemTime) -> io::Result<()> {
        let since = self.seen.and_then(|seen| now.duration_since(seen).ok());
        if since.is_some_and(|since| since < LOOK_EVERY) {
            return Ok(());
        }
        let path = self.parts.path(self.part);
        if !is_at(&self.file, &path) {
            self.seen = None;
            (self.file, self.bytes) = append(&path)?;
        }
        self.seen = Some(now);
        Ok(())
    }

    /// Goes on in another file, or in this one where the other cannot be opened: better there than nowhere.
    fn turn_to(&mut self, part: Part, now: SystemTime) {
        if let Ok((file, bytes)) = append(&self.parts.path(part)) {
            (self.part, self.file, self.bytes, self.seen) = (part, file, bytes, Some(now));
            self.parts.prune(self.kept.files, part);
        }
    }
}

impl Write for DailyFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_at(line, SystemTime::now())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Whether the open file is the one of that path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |about: std::fs::Metadata| (about.dev(), about.ino());
    // Whoever cannot be asked is believed to be where it was.
    let Ok(open) = file.metadata() else { return true };
    path.metadata().is_ok_and(|there| of(there) == of(open))
}

/// Elsewhere a file that is open cannot be taken away.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}
