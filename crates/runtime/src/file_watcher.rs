//! Files that may change while the program runs. What a change leads to is for others to decide.

use std::fs::Metadata;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Files, and their state when they were last looked at.
#[derive(Clone, Debug)]
pub struct Watched {
    files: Vec<PathBuf>,
    seen: State,
}

/// How files were when they were looked at, to be compared with another time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State(Vec<Stamp>);

impl State {
    /// To be called before the files are read, as [`Watched::new`] is.
    pub fn of(files: &[PathBuf]) -> Self {
        Self(files.iter().map(stamp).collect())
    }
}

/// What tells one state of a file from another; nothing for a file that is not there.
type Stamp = Option<(u64, SystemTime, Identity)>;

impl Watched {
    /// To be called before the files are read, so that a change meanwhile is one.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let seen = State::of(&files);
        Self { files, seen }
    }

    /// These as well, from now on.
    pub fn and(mut self, more: Vec<PathBuf>) -> Self {
        self.seen.0.extend(State::of(&more).0);
        self.files.extend(more);
        self
    }

    /// Looks once a second, and returns when a file is another one than it was and has not changed since the last look, for
    /// it may be in the middle of being written. Links are followed, so that a folder that is exchanged as a whole, as
    /// Kubernetes does it, is a change too.
    pub async fn changed(&mut self) {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            ticks.tick().await;
            let now = State::of(&self.files);
            if now != self.seen && last.as_ref() == Some(&now) {
                self.seen = now;
                return;
            }
            last = Some(now);
        }
    }
}

fn stamp(file: &PathBuf) -> Stamp {
    let about = std::fs::metadata(file).ok()?;
    Some((about.len(), about.modified().ok()?, identity(&about)))
}

/// Which file it is, and when anything of it changed. Size and time of change alone do not tell a key from the next, where a
/// tool sets the time.
#[cfg(unix)]
type Identity = (u64, u64, i64, i64);

#[cfg(unix)]
fn identity(about: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (about.dev(), about.ino(), about.ctime(), about.ctime_nsec())
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
    async fn a_change_is_seen_once_whatever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut watched = Watched::new(vec![path.clone()]);
        let changed =
            async |watched: &mut Watched| tokio::time::timeout(Duration::from_secs(5), watched.changed()).await.is_ok();
        assert!(watched.changed().now_or_never().is_none());
        for change in [|path| std::fs::write(path, "1").unwrap(), |path| std::fs::write(path, "22").unwrap()] {
            change(&path);
            assert!(changed(&mut watched).await);
            assert!(!changed(&mut watched).await);
        }
        // Another file of the same size and time.
        let (other, time) = (folder.path().join("other"), std::fs::metadata(&path).unwrap().modified().unwrap());
        std::fs::write(&other, "33").unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(changed(&mut watched).await);
        std::fs::remove_file(&path).unwrap();
        assert!(changed(&mut watched).await);
    }
}
