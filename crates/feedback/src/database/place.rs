//! Whether the file that is open is still the one at its place. Somebody may have removed the folder, or put another there:
//! what is written then goes into a file that nobody finds again.

use std::io;
use std::path::{Path, PathBuf};

use super::FILE;

/// The database's place.
#[derive(Debug)]
pub(in crate) struct Place {
    file: PathBuf,
    opened: Identity,
}

#[cfg(unix)]
type Identity = (u64, u64);
/// Elsewhere a file that is open cannot be removed, as a rule.
#[cfg(not(unix))]
type Identity = bool;

impl Place {
    /// Of the database in `folder`, which was just opened.
    pub(in crate) fn of(folder: &Path) -> io::Result<Self> {
        let file = folder.join(FILE);
        Ok(Self { opened: identity(&file)?, file })
    }

    /// Whether that is there.
    pub(in crate) fn holds(&self) -> bool {
        identity(&self.file).is_ok_and(|identity| identity == self.opened)
    }
}

#[cfg(unix)]
fn identity(file: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(file).map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(file: &Path) -> io::Result<Identity> {
    std::fs::metadata(file).map(|found| found.is_file())
}
