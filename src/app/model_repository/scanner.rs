//! Follows the content of a model repository by scans of its folder.
//!
//! A version counts when two scans in a row, some time apart, find the same files, so that a file that is being copied is
//! not opened. For the same reason a version is gone when two scans in a row do not find it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{InvalidFolder, Snapshot, VersionFiles, VersionKey};

/// What two scans found.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// The versions; `None` for one that differs from the previous scan.
    pub(super) versions: BTreeMap<VersionKey, Option<VersionFiles>>,
    /// Folders without a version, by the model's name.
    pub(super) invalid: BTreeMap<String, InvalidFolder>,
}

impl Scan {
    /// Returns whether all versions are the same as in the previous scan.
    pub(super) fn is_settled(&self) -> bool {
        self.versions.values().all(Option::is_some)
    }
}

/// Scans the folder of a repository. Blocks while it reads folders. The current time is an argument.
#[derive(Debug)]
pub(super) struct Scanner {
    folder: PathBuf,
    /// The minimum time between two scans that find the same files, for the files to count.
    min_interval: Duration,
    previous: Option<Snapshot>,
    /// Since when each version has the state of the previous scan.
    since: BTreeMap<VersionKey, Instant>,
    /// The result of the previous scan.
    result: Scan,
}

impl Scanner {
    pub(super) fn new(folder: PathBuf, min_interval: Duration) -> Self {
        Self { folder, min_interval, previous: None, since: BTreeMap::new(), result: Scan::default() }
    }

    /// Scans the folder and compares it with the previous scan.
    ///
    /// # Errors
    ///
    /// The folder cannot be read. The next scan is compared with the last one that succeeded.
    pub(super) fn scan(&mut self, now: Instant) -> io::Result<Scan> {
        let current = Snapshot::read(&self.folder, self.previous.as_ref())?;
        let mut scan = Scan::default();
        let is_first = self.previous.is_none();
        self.compare_versions(&current, now, |_| true, is_first, &mut scan);
        // At the first scan an invalid folder is reported at once, because the start depends on it.
        let is_known = |(name, folder): &(&String, &InvalidFolder)| {
            self.previous.as_ref().is_none_or(|previous| previous.invalid.get(*name) == Some(*folder))
        };
        let known = current.invalid.iter().filter(is_known);
        scan.invalid = known.map(|(name, folder)| (name.clone(), folder.clone())).collect();
        self.previous = Some(current);
        self.result = scan.clone();
        Ok(scan)
    }

    /// Scans the folder of one model and compares it with the previous scan. The other models stay as they were. Files
    /// that have not been modified lately count at once. Returns whether all files of the model count.
    ///
    /// # Errors
    ///
    /// The folder of the repository cannot be read.
    pub(super) fn scan_model(&mut self, model: &str, now: Instant) -> io::Result<(bool, Scan)> {
        let previous = self.previous.clone().unwrap_or_default();
        let current = previous.with_model(&self.folder, model)?;
        let mut scan = self.result.clone();
        scan.versions.retain(|key, _| key.model != model);
        self.compare_versions(&current, now, |key| key.model == model, true, &mut scan);
        let invalid = current.invalid.get(model);
        let is_known = previous.invalid.get(model) == invalid;
        scan.invalid.remove(model);
        scan.invalid.extend(invalid.filter(|_| is_known).map(|folder| (model.to_string(), folder.clone())));
        let is_settled = is_known && scan.versions.iter().all(|(key, files)| key.model != model || files.is_some());
        self.previous = Some(current);
        self.result = scan.clone();
        Ok((is_settled, scan))
    }

    /// Adds the selected versions to `scan`. If `accepts_old`, files that have not been modified lately count at once.
    fn compare_versions(
        &mut self,
        current: &Snapshot,
        now: Instant,
        is_selected: impl Fn(&VersionKey) -> bool,
        accepts_old: bool,
        scan: &mut Scan,
    ) {
        let keys: BTreeSet<VersionKey> = current.versions.keys().chain(self.since.keys()).cloned().collect();
        for key in keys.into_iter().filter(is_selected) {
            let files = current.versions.get(&key);
            let counts =
                self.is_unchanged(&key, files, now) || (accepts_old && files.is_some_and(VersionFiles::is_old));
            if counts && files.is_none() {
                self.since.remove(&key);
            } else {
                scan.versions.insert(key, files.filter(|_| counts).cloned());
            }
        }
    }

    /// Returns whether a version has the state of the previous scan, and has had it for the minimum interval or counted
    /// before.
    fn is_unchanged(&mut self, key: &VersionKey, files: Option<&VersionFiles>, now: Instant) -> bool {
        let before = self.previous.as_ref().and_then(|previous| previous.versions.get(key));
        match self.since.get(key) {
            Some(since) if before == files => {
                let counted = self.result.versions.get(key).and_then(Option::as_ref);
                now.duration_since(*since) >= self.min_interval || (files.is_some() && counted == files)
            }
            _ => {
                self.since.insert(key.clone(), now);
                false
            }
        }
    }
}
