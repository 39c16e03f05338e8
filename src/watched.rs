//! Files that may change while the program runs. What a change leads to is for others to decide.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Files, and their state when they were last looked at.
#[derive(Clone, Debug)]
pub struct Watched {
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
}

/// Size and time of change; nothing for a file that is not there.
type Stamp = Option<(u64, SystemTime)>;

impl Watched {
    /// To be called before the files are read, so that a change meanwhile is one.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let seen = files.iter().map(stamp).collect();
        Self { files, seen }
    }

    /// Looks once a second, and returns when a file is another one than at the last look. The file system is asked: links
    /// are followed, so that a folder that is exchanged as a whole, as Kubernetes does it, is a change too.
    pub async fn changed(&mut self) {
        let mut ticks = look();
        loop {
            ticks.tick().await;
            let now: Vec<Stamp> = self.files.iter().map(stamp).collect();
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

fn look() -> Interval {
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn stamp(file: &PathBuf) -> Stamp {
    let about = std::fs::metadata(file).ok()?;
    Some((about.len(), about.modified().ok()?))
}

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
        std::fs::remove_file(&path).unwrap();
        assert!(changed(&mut watched).await);
    }
}
