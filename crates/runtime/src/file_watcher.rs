//! Detects changes of files by polling their metadata once a second.
//!
//! Polling replaces the `notify` crate: it also sees network mounts, which send no events, and the symbolic links that
//! Kubernetes swaps to update a ConfigMap or Secret.

use std::fs::Metadata;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use crate::blocking::run_blocking;

/// The time between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Watches files for changes.
#[derive(Clone, Debug)]
pub struct FileWatcher {
    files: Vec<PathBuf>,
    last_reported: Fingerprint,
}

impl FileWatcher {
    /// Starts to watch `files`. Call it before the files are read, so that a change during the read is reported.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let last_reported = Fingerprint::of(&files);
        Self { files, last_reported }
    }

    /// Watches `more` files as well.
    pub fn with_files(mut self, more: Vec<PathBuf>) -> Self {
        self.last_reported.0.extend(Fingerprint::of(&more).0);
        self.files.extend(more);
        self
    }

    /// Polls once a second and returns when a file differs from its last reported state and did not change between two
    /// polls: a file that still changes may be only half written. Links are followed, so a folder that is replaced as a
    /// whole is a change, too.
    ///
    /// The files are read on a blocking thread, since a network mount may take long to answer.
    pub async fn changed(&mut self) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut previous = None;
        loop {
            ticks.tick().await;
            let files = self.files.clone();
            let current = run_blocking(move || Fingerprint::of(&files)).await;
            if current != self.last_reported && previous.as_ref() == Some(&current) {
                self.last_reported = current;
                return;
            }
            previous = Some(current);
        }
    }
}

/// The state of several files at one time, for comparison with another time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fingerprint(Vec<Option<FileState>>);

impl Fingerprint {
    /// Takes the state of `files`. Call it before the files are read, as for [`FileWatcher::new`].
    pub fn of(files: &[PathBuf]) -> Self {
        Self(files.iter().map(file_state).collect())
    }
}

/// Size, modification time and identity.
type FileState = (u64, SystemTime, Identity);

/// Returns `None` for a file that does not exist.
fn file_state(file: &PathBuf) -> Option<FileState> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?, identity(&metadata)))
}

/// Device, inode and change time. Two keys may have the same size, and a tool may set the same modification time.
#[cfg(unix)]
type Identity = (u64, u64, i64, i64);

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
type Identity = ();

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_kind_of_change_is_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut watcher = FileWatcher::new(vec![path.clone()]);
        let changed = async |watcher: &mut FileWatcher| {
            tokio::time::timeout(Duration::from_secs(5), watcher.changed()).await.is_ok()
        };
        assert!(watcher.changed().now_or_never().is_none());
        for change in [|path| std::fs::write(path, "1").unwrap(), |path| std::fs::write(path, "22").unwrap()] {
            change(&path);
            assert!(changed(&mut watcher).await);
            assert!(!changed(&mut watcher).await);
        }
        // Another file of the same size and modification time.
        let (other, time) = (folder.path().join("other"), std::fs::metadata(&path).unwrap().modified().unwrap());
        std::fs::write(&other, "33").unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(changed(&mut watcher).await);
        std::fs::remove_file(&path).unwrap();
        assert!(changed(&mut watcher).await);
    }
}
