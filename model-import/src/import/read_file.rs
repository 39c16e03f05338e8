//! Whole files in memory, as long as they are files and not too long: what somebody names may be a pipe or a device.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFileError {
    /// A folder, a pipe, a device.
    #[error("it is no regular file")]
    NoFile,
    /// It is longer than it may be.
    #[error("it has more than {0} bytes, the most that are read")]
    TooLong(u64),
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
///
/// See [`ReadFileError`].
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, ReadFileError> {
    // Before it is opened: a pipe that nobody writes to would be waited for.
    if !path.metadata()?.is_file() {
        return Err(ReadFileError::NoFile);
    }
    let file = File::open(path)?;
    // It may be another one by now.
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(ReadFileError::NoFile);
    }
    if about.len() > most {
        return Err(ReadFileError::TooLong(most));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(about.len() as usize).map_err(io::Error::from)?;
    // And it may grow while it is read.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(ReadFileError::TooLong(most)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_too_long_is_refused_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read_file(file.path(), 5).unwrap(), b"12345");
        assert!(read_file(file.path(), 4).unwrap_err().to_string().contains("more than 4 bytes"));
        // It has no blocks on disk, but a reader would have as many bytes in memory.
        file.as_file().set_len(1 << 40).unwrap();
        assert!(matches!(read_file(file.path(), 5), Err(ReadFileError::TooLong(5))));
        for other in [file.path().parent().unwrap(), Path::new("/dev/zero")] {
            assert!(matches!(read_file(other, u64::MAX), Err(ReadFileError::NoFile)));
        }
        let nowhere = read_file(Path::new("/no/such"), 4).unwrap_err();
        assert!(matches!(nowhere, ReadFileError::Io(error) if error.kind() == io::ErrorKind::NotFound));
    }
}
