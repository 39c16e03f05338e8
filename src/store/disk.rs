//! Writing that is whole or not at all, also when the machine stops in between; and reading that is bounded.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use model_import::import::{ReadFileError, read_file};

use super::StoreError;
use super::hidden::beside;

/// The largest file that is read as text. The golden logits of 100,000 classes are smaller.
const MOST_TEXT: usize = 2 << 20;

/// Replaces a file. Who reads it sees the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let failed = |error| StoreError::io(path, error);
    let written = beside(path);
    let file = File::create_new(&written).map_err(failed)?;
    // It is this call's own from here on.
    let all = write_all(file, bytes).and_then(|()| fs::rename(&written, path)).and_then(|()| sync(parent(path)));
    all.map_err(|error| {
        let _ = fs::remove_file(&written);
        failed(error)
    })
}

/// A folder that nobody sees yet.
pub(super) struct Inside<'a>(&'a Path);

impl Inside<'_> {
    pub(super) fn write(&self, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.0.join(file);
        write_new(&path, bytes).map_err(|error| StoreError::io(&path, error))
    }
}

/// Makes the folder `place` with all that `fill` writes. If it cannot, nothing of it stays.
pub(super) fn new_folder(
    place: &Path,
    fill: impl FnOnce(&Inside<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let failed = |error| StoreError::io(place, error);
    let written = beside(place);
    fs::create_dir(&written).map_err(failed)?;
    // It is this call's own from here on.
    let all = fill(&Inside(&written))
        .and_then(|()| sync(&written).map_err(failed))
        .and_then(|()| fs::rename(&written, place).map_err(failed))
        .and_then(|()| sync(parent(place)).map_err(failed));
    all.inspect_err(|_| {
        let _ = fs::remove_dir_all(&written);
    })
}

/// Makes a folder and those above it, where they are not there.
pub(super) fn make(folder: &Path) -> Result<(), StoreError> {
    let is_made = |above: &&Path| !above.as_os_str().is_empty() && !above.exists();
    let made: Vec<&Path> = folder.ancestors().take_while(is_made).collect();
    let all = fs::create_dir_all(folder).and_then(|()| made.iter().try_for_each(|above| sync(parent(above))));
    all.map_err(|error| StoreError::io(folder, error))
}

/// Takes a folder out of sight and deletes it.
pub(super) fn delete(folder: &Path) -> Result<(), StoreError> {
    let aside = beside(folder);
    let done = fs::rename(folder, &aside).and_then(|()| fs::remove_dir_all(&aside));
    done.map_err(|error| StoreError::io(folder, error))
}

/// Held by who changes what is in a folder, until it is dropped.
pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(".lock");
    let held = File::options().create(true).write(true).truncate(false).open(&path).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    held.map_err(|error| StoreError::io(&path, error))
}

/// The names of the folders in a folder; none where it is not there. Those that are being written are left out.
pub(super) fn folders(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| StoreError::io(folder, error))?,
    };
    let names = entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| !name.starts_with('.')).collect())
}

/// A text; nothing where there is no file.
pub(super) fn read_small(path: &Path) -> Result<Option<String>, StoreError> {
    let bytes = match read(path, MOST_TEXT) {
        Err(StoreError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    String::from_utf8(bytes).map(Some).map_err(|_| StoreError::io(path, ErrorKind::InvalidData.into()))
}

/// A file of no more than `most` bytes.
pub(super) fn read(path: &Path, most: usize) -> Result<Vec<u8>, StoreError> {
    read_file(path, most as u64).map_err(|error| match error {
        ReadFileError::NotAFile => StoreError::NoFile { path: path.to_path_buf() },
        ReadFileError::TooLong(_) => StoreError::TooLarge { path: path.to_path_buf(), most },
        ReadFileError::Io(error) => StoreError::io(path, error),
    })
}

/// Writes a file of that name, which must not be there yet. If it cannot be written as a whole, nothing stays.
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

/// What a folder names is on disk only when the folder is.
#[cfg(unix)]
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Where a file or folder is; of one without a folder in front that is the current one.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
