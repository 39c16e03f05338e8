//! A log file per day (UTC), split by size, of which only the latest files are retained.
//!
//! The files of a day are `<name>.<year>-<month>-<day>`, then the same name with `.1`, `.2` and so on. Only files with such
//! names are ever deleted. `tracing-appender` is not used, because it has no limit in bytes and deletes every file whose
//! name begins with the log's name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often [`RollingFile`] checks that its file was not moved or deleted.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// The maximum number of files, including the current one.
    pub(super) max_files: usize,
    /// The maximum size of a file, unless a single line is longer.
    pub(super) max_file_bytes: u64,
}

/// Writes to the current file of a log.
#[derive(Debug)]
pub(super) struct RollingFile {
    segments: SegmentDirectory,
    retention: Retention,
    segment: Segment,
    file: File,
    bytes: u64,
    /// The time of the last check that found the file in its place. `None` after the file was missed.
    checked: Option<SystemTime>,
}

impl RollingFile {
    /// Opens the latest file of today in `directory`, and deletes the oldest files beyond the limit.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened.
    pub(super) fn open(directory: &Path, name: &str, retention: Retention) -> io::Result<Self> {
        Self::open_at(directory, name, retention, SystemTime::now())
    }

    fn open_at(directory: &Path, name: &str, retention: Retention, now: SystemTime) -> io::Result<Self> {
        let segments = SegmentDirectory { directory: directory.to_path_buf(), name: name.to_string() };
        let segment = segments.latest(day(now));
        let (file, bytes) = append(&segments.path(segment))?;
        segments.prune(retention.max_files, segment);
        Ok(Self { segments, retention, segment, file, bytes, checked: Some(now) })
    }

    fn write_at(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let today = day(now);
        // If the clock is set back, the current file stays.
        if today > self.segment.day {
            self.roll_to(self.segments.latest(today), now);
        }
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.retention.max_file_bytes {
            self.roll_to(Segment { number: self.segment.number + 1, ..self.segment }, now);
        }
        self.reopen_if_moved(now)?;
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Opens the file again if it was deleted, moved or replaced.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened. The line is then dropped, and the next one tries again.
    fn reopen_if_moved(&mut self, now: SystemTime) -> io::Result<()> {
        let since = self.checked.and_then(|checked| now.duration_since(checked).ok());
        if since.is_some_and(|since| since < CHECK_INTERVAL) {
            return Ok(());
        }
        let path = self.segments.path(self.segment);
        if !is_at(&self.file, &path) {
            self.checked = None;
            (self.file, self.bytes) = append(&path)?;
        }
        self.checked = Some(now);
        Ok(())
    }

    /// Continues in another file. If it cannot be opened, continues in the current one, so that no line is dropped.
    fn roll_to(&mut self, segment: Segment, now: SystemTime) {
        if let Ok((file, bytes)) = append(&self.segments.path(segment)) {
            (self.segment, self.file, self.bytes, self.checked) = (segment, file, bytes, Some(now));
            self.segments.prune(self.retention.max_files, segment);
        }
    }
}

impl Write for RollingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_at(line, SystemTime::now())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens a file to append to it, and returns its size.
fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Returns whether the open file is the one at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    // If the open file has no metadata, it counts as in its place.
    let Ok(open) = file.metadata() else { return true };
    path.metadata().is_ok_and(|found| identity(found) == identity(open))
}

/// Returns whether there is a file at `path`: on other systems an open file cannot be moved.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// One file of a log, as its name shows it. Later files are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Segment {
    /// Days since 1970.
    day: u64,
    /// The number within the day, from 0.
    number: u64,
}

impl Segment {
    fn file_name(self, log: &str) -> String {
        let date = date(self.day);
        if self.number == 0 { format!("{log}.{date}") } else { format!("{log}.{date}.{}", self.number) }
    }

    /// Returns the segment with this file name, or `None` if no file of the log has such a name.
    fn from_file_name(file: &str, log: &str) -> Option<Self> {
        let (day, number) = file.strip_prefix(log)?.strip_prefix('.')?.split_at_checked("2026-01-31".len())?;
        let day = self::day(humantime::parse_rfc3339(&format!("{day}T00:00:00Z")).ok()?);
        let number = number.strip_prefix('.').map_or(Ok(0), str::parse).ok()?;
        let segment = Self { day, number };
        (segment.file_name(log) == file).then_some(segment)
    }
}

/// The files of one log.
#[derive(Debug)]
struct SegmentDirectory {
    directory: PathBuf,
    name: String,
}

impl SegmentDirectory {
    fn path(&self, segment: Segment) -> PathBuf {
        self.directory.join(segment.file_name(&self.name))
    }

    /// Returns the last existing segment of a day, or the first one if none exists.
    fn latest(&self, day: u64) -> Segment {
        let of_the_day = self.existing().into_iter().filter(|segment| segment.day == day);
        of_the_day.max().unwrap_or(Segment { day, number: 0 })
    }

    /// Deletes the oldest segments until `max_files` are left, including `current`. Errors are ignored: they must not stop
    /// the log.
    fn prune(&self, max_files: usize, current: Segment) {
        let mut others = self.existing();
        others.retain(|segment| *segment != current);
        others.sort();
        let surplus = (others.len() + 1).saturating_sub(max_files).min(others.len());
        for segment in &others[..surplus] {
            let _ = std::fs::remove_file(self.path(*segment));
        }
    }

    fn existing(&self) -> Vec<Segment> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        entries.filter_map(|entry| Segment::from_file_name(entry.ok()?.file_name().to_str()?, &self.name)).collect()
    }
}

/// Returns the day (UTC) of a time, in days since 1970.
fn day(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs()
}

/// Formats a day as `2026-01-31`.
fn date(day: u64) -> String {
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + DAY * day as u32).to_string();
    time.chars().take_while(|c| *c != 'T').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log in a temporary folder, on a clock that the test controls.
    struct Log {
        folder: tempfile::TempDir,
        retention: Retention,
    }

    impl Log {
        fn with_limits(max_files: usize, max_file_bytes: u64) -> Self {
            Self { folder: tempfile::tempdir().unwrap(), retention: Retention { max_files, max_file_bytes } }
        }

        fn open(&self, now: &str) -> RollingFile {
            RollingFile::open_at(self.folder.path(), "app.log", self.retention, time(now)).unwrap()
        }

        fn assert_files(&self, files: &[(&str, &str)]) {
            let read = |entry: io::Result<std::fs::DirEntry>| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().to_str().unwrap().to_string(), std::fs::read_to_string(path).unwrap())
            };
            let mut found: Vec<_> = std::fs::read_dir(self.folder.path()).unwrap().map(read).collect();
            found.sort();
            let expected: Vec<_> = files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
            assert_eq!(found, expected);
        }
    }

    fn time(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn file_changes_at_midnight_utc_and_the_latest_are_retained() {
        let log = Log::with_limits(2, 1000);
        let mut file = log.open("2026-02-27T12:00:00Z");
        file.write_at(b"old\n", time("2026-02-27T12:00:00Z")).unwrap();
        file.write_at(b"one\n", time("2026-02-28T23:59:59Z")).unwrap();
        file.write_at(b"two\n", time("2026-03-01T00:00:00Z")).unwrap();
        log.assert_files(&[("app.log.2026-02-28", "one\n"), ("app.log.2026-03-01", "two\n")]);
        // The clock is set back.
        file.write_at(b"three\n", time("2026-02-28T23:00:00Z")).unwrap();
        log.assert_files(&[("app.log.2026-02-28", "one\n"), ("app.log.2026-03-01", "two\nthree\n")]);
    }

    #[test]
    fn day_is_split_by_size_and_each_file_counts() {
        let log = Log::with_limits(2, 8);
        let noon = "2026-02-28T12:00:00Z";
        let mut file = log.open(noon);
        for line in ["aaa\n", "bbb\n", "ccc\n", "a line of its own\n", "ddd\n"] {
            file.write_at(line.as_bytes(), time(noon)).unwrap();
        }
        log.assert_files(&[("app.log.2026-02-28.2", "a line of its own\n"), ("app.log.2026-02-28.3", "ddd\n")]);
        drop(file);
        let mut file = log.open(noon);
        file.write_at(b"eee\n", time(noon)).unwrap();
        file.write_at(b"fff\n", time(noon)).unwrap();
        log.assert_files(&[("app.log.2026-02-28.3", "ddd\neee\n"), ("app.log.2026-02-28.4", "fff\n")]);
    }

    #[test]
    fn tenth_file_of_a_day_is_newer_than_the_ninth() {
        let log = Log::with_limits(2, 4);
        let mut file = log.open("2026-02-28T12:00:00Z");
        for number in 0..=10 {
            file.write_at(format!("{number:3}\n").as_bytes(), time("2026-02-28T12:00:00Z")).unwrap();
        }
        log.assert_files(&[("app.log.2026-02-28.10", " 10\n"), ("app.log.2026-02-28.9", "  9\n")]);
    }

    #[cfg(unix)]
    #[test]
    fn moved_file_is_opened_again_within_a_second() {
        let log = Log::with_limits(5, 1000);
        let mut file = log.open("2026-02-28T12:00:00Z");
        let (path, moved) = (log.folder.path().join("app.log.2026-02-28"), log.folder.path().join("old"));
        file.write_at(b"one\n", time("2026-02-28T12:00:00Z")).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        file.write_at(b"two\n", time("2026-02-28T12:00:01Z")).unwrap();
        log.assert_files(&[("app.log.2026-02-28", "two\n"), ("old", "one\n")]);
        // Another file took its place: the log continues in it.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "theirs\n").unwrap();
        file.write_at(b"three\n", time("2026-02-28T12:00:02Z")).unwrap();
        log.assert_files(&[("app.log.2026-02-28", "theirs\nthree\n"), ("old", "one\n")]);
    }

    #[cfg(unix)]
    #[test]
    fn missing_folder_is_an_error_until_it_exists_again() {
        let log = Log::with_limits(5, 1000);
        let mut file = log.open("2026-02-28T12:00:00Z");
        let elsewhere = tempfile::tempdir().unwrap();
        let away = elsewhere.path().join("away");
        std::fs::rename(log.folder.path(), &away).unwrap();
        file.write_at(b"one\n", time("2026-02-28T12:00:01Z")).unwrap_err();
        file.write_at(b"two\n", time("2026-02-28T12:00:01Z")).unwrap_err();
        std::fs::create_dir(log.folder.path()).unwrap();
        file.write_at(b"three\n", time("2026-02-28T12:00:01Z")).unwrap();
        log.assert_files(&[("app.log.2026-02-28", "three\n")]);
    }

    #[test]
    fn files_with_other_names_are_not_deleted() {
        let log = Log::with_limits(1, 1000);
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
        log.assert_files(&left);
    }
}
