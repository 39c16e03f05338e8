//! Folders that the build does not look into, while one is filled or gives way. A process that is killed leaves its own
//! behind, and the next import takes them away.

use std::fs::File;
use std::path::{Path, PathBuf};

/// A folder that is being filled.
pub(super) const IMPORTING: &str = "importing";
/// A folder that gave way, until the new one is in its place.
pub(super) const REPLACED: &str = "replaced";

/// A hidden folder beside the one of that name. What is still in it in the end goes with it.
pub(super) struct Hidden {
    /// Where it is.
    pub(super) path: PathBuf,
    /// As long as this is locked, somebody is at work in it.
    _lock: Option<File>,
}

impl Hidden {
    pub(super) fn create(parent: &Path, name: &str, what: &str) -> std::io::Result<Self> {
        let path = parent.join(format!(".{name}.{what}-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        let lock = locked(&path);
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // It is gone if it was renamed.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Takes away what imports into `parent` left that were killed. A model that had given way, and whose place is still empty,
/// is put back.
pub(super) fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        let Some((name, what)) = entry.file_name().to_str().and_then(parts).map(|(n, w)| (n.to_string(), w)) else {
            continue;
        };
        let is_folder = path.symlink_metadata().is_ok_and(|about| about.is_dir());
        // Nobody else has the lock, or it cannot be told: then it stays.
        let Some(_lock) = is_folder.then(|| locked(&path)).flatten() else { continue };
        let place = parent.join(name);
        // There is nobody to tell if it does not go, and the import goes on beside it.
        let _ = match what == REPLACED && place.symlink_metadata().is_err() && path.join("model.toml").is_file() {
            true => std::fs::rename(&path, &place),
            false => std::fs::remove_dir_all(&path),
        };
    }
}

/// The lock of a folder that nobody works in.
pub(super) fn locked(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// The folder that a hidden one stands for, and what it is.
fn parts(name: &str) -> Option<(&str, &'static str)> {
    let (rest, process) = name.strip_prefix('.')?.rsplit_once('-')?;
    let (name, what) = rest.rsplit_once('.')?;
    let what = [IMPORTING, REPLACED].into_iter().find(|known| *known == what)?;
    let is_ours = !name.is_empty() && !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then_some((name, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_import_left_goes_and_what_somebody_works_in_stays() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            std::fs::create_dir(parent.path().join(name)).unwrap();
            std::fs::write(parent.path().join(name).join("model.toml"), name).unwrap();
        };
        for name in [".net.importing-7", ".net.replaced-8", ".lost.replaced-9", "net", ".git", ".net.importing-x"] {
            make(name);
        }
        let busy = Hidden::create(parent.path(), "net", IMPORTING).unwrap();
        sweep(parent.path());
        let there = |name: &str| parent.path().join(name).exists();
        assert!(busy.path.exists());
        assert!(!there(".net.importing-7") && !there(".net.replaced-8") && !there(".lost.replaced-9"));
        // The only copy of a model that had given way is in its place again.
        assert_eq!(std::fs::read_to_string(parent.path().join("lost/model.toml")).unwrap(), ".lost.replaced-9");
        assert_eq!(std::fs::read_to_string(parent.path().join("net/model.toml")).unwrap(), "net");
        assert!(there(".git") && there(".net.importing-x"));
    }
}
