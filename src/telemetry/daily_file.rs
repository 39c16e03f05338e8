//! A log file a day (UTC), in parts where a day has much to tell, of which only the latest files are kept.
//!
//! The parts of a day are `<name>.<year>-<month>-<day>`, the same with `.1`, with `.2` and so on. Only names of that shape
//! are ever deleted. `tracing-appender` has no bound for bytes, and deletes whatever begins with the log's name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
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
    directory: PathBuf,
    name: String,
    kept: Kept,
    part: Part,
    file: File,
    bytes: u64,
    /// When it was last seen that the file is in its place; never, once it is not.
    seen: Option<SystemTime>,
}

/// One file. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    /// Since 1970.
    day: u64,
    number: u64,
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
        let part = latest(directory, name, day(now));
        let (file, bytes) = append(&directory.join(part.file_name(name)))?;
        prune(directory, name, kept.files, part);
        Ok(Self {
            directory: directory.to_path_buf(),
            name: name.to_string(),
            kept,
            part,
            file,
            bytes,
            seen: Some(now),
        })
    }

    fn write_at(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let today = day(now);
        // A clock that was set back does not bring back yesterday's file.
        if today > self.part.day {
            self.turn_to(latest(&self.directory, &self.name, today), now);
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
        let path = self.directory.join(self.part.file_name(&self.name));
        if !is_at(&self.file, &path) {
            self.seen = None;
            (self.file, self.bytes) = append(&path)?;
        }
        self.seen = Some(now);
        Ok(())
    }

    /// Goes on in another file, or in this one where the other cannot be opened: better there than nowhere.
    fn turn_to(&mut self, part: Part, now: SystemTime) {
        if let Ok((file, bytes)) = append(&self.directory.join(part.file_name(&self.name))) {
            (self.part, self.file, self.bytes, self.seen) = (part, file, bytes, Some(now));
            prune(&self.directory, &self.name, self.kept.files, part);
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

impl Part {
    fn file_name(self, log: &str) -> String {
        let date = date(self.day);
        if self.number == 0 { format!("{log}.{date}") } else { format!("{log}.{date}.{}", self.number) }
    }

    /// The part that has this name; none for names that this log does not give.
    fn of(file: &str, log: &str) -> Option<Self> {
        let (day, number) = file.strip_prefix(log)?.strip_prefix('.')?.split_at_checked("2026-01-31".len())?;
        let day = self::day(humantime::parse_rfc3339(&format!("{day}T00:00:00Z")).ok()?);
        let number = number.strip_prefix('.').map_or(Ok(0), str::parse).ok()?;
        let part = Self { day, number };
        (part.file_name(log) == file).then_some(part)
    }
}

fn day(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs()
}

fn date(day: u64) -> String {
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + DAY * day as u32).to_string();
    time.chars().take_while(|c| *c != 'T').collect()
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

/// The last part of a day that is there, or else its first one.
fn latest(directory: &Path, name: &str, day: u64) -> Part {
    let of_the_day = parts(directory, name).into_iter().filter(|part| part.day == day);
    of_the_day.max().unwrap_or(Part { day, number: 0 })
}

/// Deletes the oldest files of the log until `files` are left, `current` among them. A folder that cannot be read or a
/// file that cannot be deleted is no reason to stop logging.
fn prune(directory: &Path, name: &str, files: usize, current: Part) {
    let mut others = parts(directory, name);
    others.retain(|part| *part != current);
    others.sort();
    let surplus = (others.len() + 1).saturating_sub(files).min(others.len());
    for part in &others[..surplus] {
        let _ = std::fs::remove_file(directory.join(part.file_name(name)));
    }
}

fn parts(directory: &Path, name: &str) -> Vec<Part> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Part::of(entry.ok()?.file_name().to_str()?, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log in a folder of its own, on a clock of its own.
    struct Log {
        folder: tempfile::TempDir,
        kept: Kept,
    }

    impl Log {
        fn keeping(files: usize, bytes_each: u64) -> Self {
            Self { folder: tempfile::tempdir().unwrap(), kept: Kept { files, bytes_each } }
        }

        fn open(&self, now: &str) -> DailyFile {
            DailyFile::open_at(self.folder.path(), "app.log", self.kept, time(now)).unwrap()
        }

        fn has(&self, files: &[(&str, &str)]) {
            let read = |entry: io::Result<std::fs::DirEntry>| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().to_str().unwrap().to_string(), std::fs::read_to_string(path).unwrap())
            };
            let mut there: Vec<_> = std::fs::read_dir(self.folder.path()).unwrap().map(read).collect();
            there.sort();
            let expected: Vec<_> = files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
            assert_eq!(there, expected);
        }
    }

    fn time(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn the_file_changes_at_midnight_utc_and_the_latest_are_kept() {
        let log = Log::keeping(2, 1000);
        let mut file = log.open("2026-02-27T12:00:00Z");
        file.write_at(b"old\n", time("2026-02-27T12:00:00Z")).unwrap();
        file.write_at(b"one\n", time("2026-02-28T23:59:59Z")).unwrap();
        file.write_at(b"two\n", time("2026-03-01T00:00:00Z")).unwrap();
        log.has(&[("app.log.2026-02-28", "one\n"), ("app.log.2026-03-01", "two\n")]);
        // The clock is set back.
        file.write_at(b"three\n", time("2026-02-28T23:00:00Z")).unwrap();
        log.has(&[("app.log.2026-02-28", "one\n"), ("app.log.2026-03-01", "two\nthree\n")]);
    }

    #[test]
    fn a_day_that_has_much_to_tell_has_several_files_and_they_count() {
        let log = Log::keeping(2, 8);
        let noon = "2026-02-28T12:00:00Z";
        let mut file = log.open(noon);
        for line in ["aaa\n", "bbb\n", "ccc\n", "a line of its own\n", "ddd\n"] {
            file.write_at(line.as_bytes(), time(noon)).unwrap();
        }
        log.has(&[("app.log.2026-02-28.2", "a line of its own\n"), ("app.log.2026-02-28.3", "ddd\n")]);
        drop(file);
        let mut file = log.open(noon);
        file.write_at(b"eee\n", time(noon)).unwrap();
        file.write_at(b"fff\n", time(noon)).unwrap();
        log.has(&[("app.log.2026-02-28.3", "ddd\neee\n"), ("app.log.2026-02-28.4", "fff\n")]);
    }

    #[test]
    fn the_tenth_file_of_a_day_is_younger_than_the_ninth() {
        let log = Log::keeping(2, 4);
        let mut file = log.open("2026-02-28T12:00:00Z");
        for number in 0..=10 {
            file.write_at(format!("{number:3}\n").as_bytes(), time("2026-02-28T12:00:00Z")).unwrap();
        }
        log.has(&[("app.log.2026-02-28.10", " 10\n"), ("app.log.2026-02-28.9", "  9\n")]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_taken_away_is_begun_anew_within_a_second() {
        let log = Log::keeping(5, 1000);
        let mut file = log.open("2026-02-28T12:00:00Z");
        let (path, moved) = (log.folder.path().join("app.log.2026-02-28"), log.folder.path().join("old"));
        file.write_at(b"one\n", time("2026-02-28T12:00:00Z")).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        file.write_at(b"two\n", time("2026-02-28T12:00:01Z")).unwrap();
        log.has(&[("app.log.2026-02-28", "two\n"), ("old", "one\n")]);
        // Another one is in its place: it is the log now.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "theirs\n").unwrap();
        file.write_at(b"three\n", time("2026-02-28T12:00:02Z")).unwrap();
        log.has(&[("app.log.2026-02-28", "theirs\nthree\n"), ("old", "one\n")]);
    }

    #[cfg(unix)]
    #[test]
    fn lines_that_have_nowhere_to_go_are_errors_until_there_is_a_place() {
        let log = Log::keeping(5, 1000);
        let mut file = log.open("2026-02-28T12:00:00Z");
        let elsewhere = tempfile::tempdir().unwrap();
        let away = elsewhere.path().join("away");
        std::fs::rename(log.folder.path(), &away).unwrap();
        file.write_at(b"one\n", time("2026-02-28T12:00:01Z")).unwrap_err();
        file.write_at(b"two\n", time("2026-02-28T12:00:01Z")).unwrap_err();
        std::fs::create_dir(log.folder.path()).unwrap();
        file.write_at(b"three\n", time("2026-02-28T12:00:01Z")).unwrap();
        log.has(&[("app.log.2026-02-28", "three\n")]);
    }

    #[test]
    fn what_is_not_the_logs_own_is_left_alone() {
        let log = Log::keeping(1, 1000);
        let foreign = [
            "app.log",
            "app.log.2020-01-01.01",
            "app.log.2020-01-01.gz",
            "app.log.2020-02-31",
            "app.log.bak",
            "app.log2020-01-01",
            "my-app.log.2020-01-01",
        ];
        for name in foreign.iter().copied().chain(["app.log.2020-01-01", "app.log.2020-01-02.7"]) {
            std::fs::write(log.folder.path().join(name), "").unwrap();
        }
        log.open("2026-02-28T12:00:00Z").write_at(b"a line\n", time("2026-02-28T12:00:00Z")).unwrap();
        let mut left: Vec<_> = foreign.iter().map(|name| (*name, "")).collect();
        left.push(("app.log.2026-02-28", "a line\n"));
        left.sort_unstable();
        log.has(&left);
    }
}
