//! Creates files and folders that only their owner can access, whatever the umask and the parent folder allow: notes and
//! images may be confidential.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Suffix of a file that is being written.
pub(crate) const PARTIAL_SUFFIX: &str = ".part";

/// Creates a folder and its parents, if missing.
pub(crate) fn create_dir_all(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Creates an empty file, if missing.
pub(crate) fn create_if_missing(path: &Path) -> io::Result<()> {
    match write_options().create_new(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Returns options that open a file for writing; a file that they create belongs to its owner alone.
pub(crate) fn write_options() -> OpenOptions {
    let mut options = File::options();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Writes a file and the folders that it needs: the bytes go to a temporary file, which is then renamed. The file is complete
/// or absent, except after a power failure, because nothing is synced.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_dir_all(path.parent().expect("the path has a folder"))?;
    let partial = PathBuf::from(format!("{}{PARTIAL_SUFFIX}", path.display()));
    let mut file = write_options().create(true).truncate(true).open(&partial)?;
    let written = file.write_all(bytes).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // If the disk is full, this frees the space of the partial file.
        let _ = std::fs::remove_file(&partial);
    }
    written
}
