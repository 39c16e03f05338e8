//! The log's files as they lie in a folder, on a clock of the test's own.

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
