//! The files of one log: which part of which day each is, and which of them go. They are read off their names alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One file. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// Since 1970.
    pub(super) day: u64,
    pub(super) number: u64,
}

/// All files of a log.
#[derive(Debug)]
pub(super) struct Parts {
    directory: PathBuf,
    log: String,
}

impl Parts {
    /// Of the log of that name in `directory`.
    pub(super) fn of(directory: &Path, log: &str) -> Self {
        Self { directory: directory.to_path_buf(), log: log.to_string() }
    }

    /// Where a part lies.
    pub(super) fn path(&self, part: Part) -> PathBuf {
        self.directory.join(part.file_name(&self.log))
    }

    /// The last part of a day that is there, or else its first one.
    pub(super) fn latest(&self, day: u64) -> Part {
        let of_the_day = self.there().into_iter().filter(|part| part.day == day);
        of_the_day.max().unwrap_or(Part { day, number: 0 })
    }

    /// Deletes the oldest until `files` are left, `current` among them. A folder that cannot be read or a file that cannot
    /// be deleted is no reason to stop logging.
    pub(super) fn prune(&self, files: usize, current: Part) {
        let mut others = self.there();
        others.retain(|part| *part != current);
        others.sort();
        let surplus = (others.len() + 1).saturating_sub(files).min(others.len());
        for part in &others[..surplus] {
            let _ = std::fs::remove_file(self.path(*part));
        }
    }

    fn there(&self) -> Vec<Part> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        entries.filter_map(|entry| Part::named(entry.ok()?.file_name().to_str()?, &self.log)).collect()
    }
}

impl Part {
    fn file_name(self, log: &str) -> String {
        let date = date(self.day);
        if self.number == 0 { format!("{log}.{date}") } else { format!("{log}.{date}.{}", self.number) }
    }

    /// The part that has this name; none for names that this log does not give.
    fn named(file: &str, log: &str) -> Option<Self> {
        let (day, number) = file.strip_prefix(log)?.strip_prefix('.')?.split_at_checked("2026-01-31".len())?;
        let day = self::day(humantime::parse_rfc3339(&format!("{day}T00:00:00Z")).ok()?);
        let number = number.strip_prefix('.').map_or(Ok(0), str::parse).ok()?;
        let part = Self { day, number };
        (part.file_name(log) == file).then_some(part)
    }
}

/// The day (UTC) of a moment, since 1970.
pub(super) fn day(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs()
}

fn date(day: u64) -> String {
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + DAY * day as u32).to_string();
    time.chars().take_while(|c| *c != 'T').collect()
}
