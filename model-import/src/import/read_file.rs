//! Whole files in memory, as long as they are files and not too long: what somebody names may be a pipe or a device.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
///
/// It is something else, or longer, or the system's.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Before it is opened: a pipe that nobody writes to would be waited for.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes, the most that are read")));
    }
    Ok(bytes)
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
        for other in [file.path().parent().unwrap(), Path::new("/dev/zero")] {
            assert!(read_file(other, u64::MAX).unwrap_err().to_string().contains("no regular file"));
        }
        assert_eq!(read_file(Path::new("/no/such"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
