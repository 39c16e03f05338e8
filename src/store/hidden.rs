//! What is being written or deleted, beside its place and out of sight: its names, and what killed processes left of it.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

/// From when on nobody is at work on it any more: to write a version takes seconds.
const LEFT_BEHIND: Duration = Duration::from_secs(60 * 60);

/// A place of this call's own in the same folder, which no name of a version can be. By chance, for in containers all
/// processes have the same number.
pub(super) fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!(".{name}.{}", Uuid::now_v7().simple()))
}

/// Deletes what was left behind in a folder, as far as that can be done. To be called by who holds the folder's lock.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok).filter(|entry| is_ours(entry) && is_old(entry)) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // It takes nothing but room, so that it is no reason to stop.
        let _ = if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
    }
}

/// It has a name from here: a dot, the name of what it was to be, and what tells it from others.
fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let Some((_, own)) = name.to_str().and_then(|name| name.strip_prefix('.')?.rsplit_once('.')) else { return false };
    own.len() == 32 && Uuid::try_parse(own).is_ok_and(|own| own.get_version_num() == 7)
}

fn is_old(entry: &DirEntry) -> bool {
    let age = entry.metadata().and_then(|about| about.modified()).ok().and_then(|changed| changed.elapsed().ok());
    age.is_some_and(|age| age > LEFT_BEHIND)
}
