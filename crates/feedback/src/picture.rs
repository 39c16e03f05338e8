//! A picture that was kept: its name, its place, its bytes.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The folder's name in that of the data: one that nobody has for pictures of their own.
pub(super) const FOLDER: &str = "kept-pictures";

/// A picture that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its digest.
    pub sha256: [u8; 32],
    /// Of its format, without a dot.
    pub extension: String,
}

impl Picture {
    /// The name of its file.
    pub fn file_name(&self) -> String {
        format!("{}.{}", hex(&self.sha256), self.extension)
    }

    /// Where it lies in the folder of `--data-dir`.
    pub fn path(&self, data: &Path) -> PathBuf {
        data.join(FOLDER).join(self.place())
    }

    /// Where it lies in the folder of pictures: `<two digits>/<name>`, so that no folder has too many.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", hex(&self.sha256[..1]), self.file_name())
    }

    /// Its bytes, if they are what they were when it was kept.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is damaged: after a loss of power its end may be missing.
    pub fn read(&self, data: &Path) -> io::Result<Vec<u8>> {
        let bytes = std::fs::read(self.path(data))?;
        if Sha256::digest(&bytes).as_slice() == self.sha256 {
            return Ok(bytes);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the file is not what was kept"))
    }
}

/// Lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_not_taken_for_the_picture() {
        let data = tempfile::tempdir().unwrap();
        let picture = Picture { sha256: Sha256::digest(b"a picture").into(), extension: "png".to_string() };
        let path = picture.path(data.path());
        assert!(path.ends_with(format!("kept-pictures/{}/{}", &picture.file_name()[..2], picture.file_name())));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"a picture").unwrap();
        assert_eq!(picture.read(data.path()).unwrap(), b"a picture");
        std::fs::write(&path, b"a pict").unwrap();
        assert!(picture.read(data.path()).is_err());
    }
}
