//! A log file a day, of which only the latest are kept.
//!
//! The appender's own way of keeping few files deletes whatever in the folder begins with the log's name. Here only
//! names that this log itself gives, `<name>.<year>-<month>-<day>`, are ever deleted.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};

/// How long a file that is one too many may live on.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);

/// Writes to the file of the day.
#[derive(Debug)]
pub(super) struct DailyFile {
    appender: RollingFileAppender,
    directory: PathBuf,
    name: String,
    kept: usize,
    pruned: Instant,
}

impl DailyFile {
    /// Opens today's file in `directory` and deletes the oldest ones until `kept` are left.
    pub(super) fn open(directory: &Path, name: &str, kept: usize) -> Result<Self, InitError> {
        let appender =
            RollingFileAppender::builder().rotation(Rotation::DAILY).filename_prefix(name).build(directory)?;
        prune(directory, name, kept);
        let (directory, name) = (directory.to_path_buf(), name.to_string());
        Ok(Self { appender, directory, name, kept, pruned: Instant::now() })
    }
}

impl Write for DailyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.appender.write(bytes)?;
        if self.pruned.elapsed() >= PRUNE_INTERVAL {
            self.pruned = Instant::now();
            prune(&self.directory, &self.name, self.kept);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.appender.flush()
    }
}

/// Deletes the oldest files of the log `name` until `kept` are left. A folder that cannot be read or a file that
/// cannot be deleted is no reason to stop logging.
fn prune(directory: &Path, name: &str, kept: usize) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut ours: Vec<String> = names.filter(|file| is_ours(file, name)).collect();
    // The date sorts as text.
    ours.sort();
    let surplus = ours.len().saturating_sub(kept);
    for file in &ours[..surplus] {
        let _ = std::fs::remove_file(directory.join(file));
    }
}

fn is_ours(file: &str, name: &str) -> bool {
    let date = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')).unwrap_or("");
    let fits = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    date.len() == "2026-01-31".len() && date.bytes().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_latest_days_are_kept_and_what_is_not_the_logs_own_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let foreign = ["app.log", "app.log.2020-01-01.gz", "app.log.bak", "app.log2020-01-01", "my-app.log.2020-01-01"];
        for name in foreign.iter().copied().chain(["app.log.2020-01-01", "app.log.2020-01-02", "app.log.2020-02-01"]) {
            std::fs::write(directory.path().join(name), name).unwrap();
        }
        let mut file = DailyFile::open(directory.path(), "app.log", 2).unwrap();
        file.write_all(b"a line\n").unwrap();
        let left = names(directory.path());
        assert!(foreign.iter().all(|name| left.contains(&(*name).to_string())), "{left:?}");
        let ours: Vec<&String> = left.iter().filter(|name| is_ours(name, "app.log")).collect();
        assert_eq!(ours.len(), 2, "{left:?}");
        assert_eq!(ours[0], "app.log.2020-02-01");
        assert_eq!(std::fs::read_to_string(directory.path().join(ours[1])).unwrap(), "a line\n");
    }
}
