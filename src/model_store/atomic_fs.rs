//! Atomic and durable writes, bounded reads, and the removal of temporary files that a killed process left.

use std::fs::{self, DirEntry, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model_import::import::{ReadFileError, read_file};
use uuid::Uuid;

use super::StoreError;

/// Maximum size of a text file in bytes. The reference logits of 100,000 classes are smaller.
const MAX_TEXT_BYTES: usize = 2 << 20;

/// Age from which a temporary file counts as abandoned. A write of a version takes seconds.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);

/// Replaces a file atomically: a reader sees the old content or the new content.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let failed = |error| StoreError::io(path, error);
    let temporary = temporary_path(path);
    let file = File::create_new(&temporary).map_err(failed)?;
    // This call created the temporary file, so it may delete the file if a step fails.
    let written =
        write_all(file, bytes).and_then(|()| fs::rename(&temporary, path)).and_then(|()| sync_folder(parent(path)));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}

/// A temporary folder that is renamed when it is complete.
pub(super) struct StagingFolder<'a>(&'a Path);

impl StagingFolder<'_> {
    pub(super) fn write(&self, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.0.join(file);
        write_new(&path, bytes).map_err(|error| StoreError::io(&path, error))
    }
}

/// Creates the folder `path` with the files that `fill` writes. If a step fails, nothing remains.
pub(super) fn create_folder(
    path: &Path,
    fill: impl FnOnce(&StagingFolder<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let failed = |error| StoreError::io(path, error);
    let temporary = temporary_path(path);
    fs::create_dir(&temporary).map_err(failed)?;
    // This call created the temporary folder, so it may delete the folder if a step fails.
    let created = fill(&StagingFolder(&temporary))
        .and_then(|()| sync_folder(&temporary).map_err(failed))
        .and_then(|()| fs::rename(&temporary, path).map_err(failed))
        .and_then(|()| sync_folder(parent(path)).map_err(failed));
    created.inspect_err(|_| {
        let _ = fs::remove_dir_all(&temporary);
    })
}

/// Creates a folder and its missing parents.
pub(super) fn create_dir_all(folder: &Path) -> Result<(), StoreError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    let created =
        fs::create_dir_all(folder).and_then(|()| missing.iter().try_for_each(|path| sync_folder(parent(path))));
    created.map_err(|error| StoreError::io(folder, error))
}

/// Deletes a folder. The rename to a hidden name makes the deletion atomic for readers.
pub(super) fn delete_folder(folder: &Path) -> Result<(), StoreError> {
    let temporary = temporary_path(folder);
    let deleted = fs::rename(folder, &temporary).and_then(|()| fs::remove_dir_all(&temporary));
    deleted.map_err(|error| StoreError::io(folder, error))
}

/// Acquires the exclusive lock of a folder. The lock is released when the returned file is dropped.
pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(".lock");
    let locked = File::options().create(true).write(true).truncate(false).open(&path).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    locked.map_err(|error| StoreError::io(&path, error))
}

/// Returns the names of the visible folders in a folder; none if it does not exist. Temporary folders are hidden.
pub(super) fn list_folders(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| StoreError::io(folder, error))?,
    };
    let names = entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| !name.starts_with('.')).collect())
}

/// Reads a small text file; `None` if it does not exist.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, StoreError> {
    let bytes = match read(path, MAX_TEXT_BYTES) {
        Err(StoreError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    String::from_utf8(bytes).map(Some).map_err(|_| StoreError::io(path, ErrorKind::InvalidData.into()))
}

/// Reads a file of at most `max_bytes` bytes.
pub(super) fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, StoreError> {
    read_file(path, max_bytes as u64).map_err(|error| match error {
        ReadFileError::NotAFile => StoreError::NotAFile { path: path.to_path_buf() },
        ReadFileError::TooLong(_) => StoreError::TooLarge { path: path.to_path_buf(), max_bytes },
        ReadFileError::Io(error) => StoreError::io(path, error),
    })
}

/// Writes a file that must not exist yet. If the write fails, nothing remains.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = File::create_new(path)?;
    write_all(file, bytes).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

fn write_all(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// Flushes a folder: a created or renamed entry is durable only after that.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the folder that contains `path`; the current folder if `path` has a single component.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns a unique hidden path in the same folder, `.NAME.UUID`. No version can have that name. The suffix is random,
/// because in containers all processes can have the same process id.
fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!(".{name}.{}", Uuid::now_v7().simple()))
}

/// Deletes abandoned temporary files and folders. The caller must hold the folder's lock.
pub(super) fn delete_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok).filter(|entry| is_temporary(entry) && is_abandoned(entry)) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // An entry that cannot be deleted only takes disk space, so the caller continues.
        let _ = if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
    }
}

/// Returns whether an entry has a name from [`temporary_path`].
fn is_temporary(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let suffix = name.to_str().and_then(|name| name.strip_prefix('.')?.rsplit_once('.'));
    let Some((_, suffix)) = suffix else { return false };
    suffix.len() == 32 && Uuid::try_parse(suffix).is_ok_and(|uuid| uuid.get_version_num() == 7)
}

fn is_abandoned(entry: &DirEntry) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    modified.ok().and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age > ABANDONED_AFTER)
}
