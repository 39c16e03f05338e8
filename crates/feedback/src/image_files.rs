//! Image files: their paths by SHA-256, and the removal of files that have no row in the database.
//!
//! The folder belongs to the user, who may store own images in it. A file that Kiln cannot have written is left alone.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::private_fs::PARTIAL_SUFFIX;

/// Name of the folder of images in the data folder. It is unlikely to be the name of a user's own folder.
pub const IMAGE_FOLDER: &str = "kept-pictures";
/// The extensions of all image formats.
const EXTENSIONS: [&str; 6] = ["png", "jpg", "gif", "webp", "bmp", "tiff"];

/// A stored image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Extension of its format, without a dot.
    pub extension: String,
}

impl StoredImage {
    /// Returns the name of the file.
    pub fn file_name(&self) -> String {
        format!("{}.{}", hex::encode(self.sha256), self.extension)
    }

    /// Returns the path of the file in the folder of `--data-dir`.
    pub fn path(&self, data_dir: &Path) -> PathBuf {
        data_dir.join(IMAGE_FOLDER).join(self.relative_path())
    }

    /// Returns the path in the folder of images, `<two digits>/<name>`: the subfolders keep each folder small.
    pub(crate) fn relative_path(&self) -> String {
        format!("{}/{}", hex::encode(&self.sha256[..1]), self.file_name())
    }

    /// Reads the file and verifies its digest.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or it is damaged: after a power failure its end may be missing.
    pub fn read(&self, data_dir: &Path) -> io::Result<Vec<u8>> {
        let bytes = std::fs::read(self.path(data_dir))?;
        if Sha256::digest(&bytes).as_slice() == self.sha256 {
            return Ok(bytes);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the digest of the image file does not match"))
    }
}

/// An image file as its row in the database describes it.
#[derive(Debug)]
pub(crate) struct ExpectedFile {
    pub(crate) sha256: [u8; 32],
    pub(crate) bytes: u64,
}

/// Deletes each file of Kiln that has no row or not the length in its row. Removes the rows that have a file from `rows`, whose
/// keys are relative paths, `<two digits>/<name>`; the rows that remain have no file.
pub(crate) fn remove_unexpected(folder: &Path, rows: &mut HashMap<String, ExpectedFile>) -> io::Result<()> {
    for (digits, folder) in entries(folder, |kind| kind.is_dir())? {
        if !is_hex(&digits, 2) {
            continue;
        }
        for (name, path) in entries(&folder, |kind| kind.is_file())? {
            let key = format!("{digits}/{name}");
            if !rows.contains_key(&key) && !is_image_file(&digits, &name) {
                continue;
            }
            let length = std::fs::metadata(&path)?.len();
            if rows.get(&key).is_some_and(|row| row.bytes == length) {
                rows.remove(&key);
            } else {
                std::fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// Returns name and path of the entries of a folder that have the wanted type. A missing folder has no entries. Names that are
/// not UTF-8 are skipped: Kiln did not write them.
fn entries(folder: &Path, is_wanted: impl Fn(std::fs::FileType) -> bool) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let (true, Ok(name)) = (is_wanted(entry.file_type()?), entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// Returns whether Kiln can have written a file of this name to the folder `digits`.
fn is_image_file(digits: &str, name: &str) -> bool {
    let Some((sha256, extension)) = name.split_once('.') else { return false };
    let extension = extension.strip_suffix(PARTIAL_SUFFIX).unwrap_or(extension);
    is_hex(sha256, 64) && sha256.starts_with(digits) && EXTENSIONS.contains(&extension)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_image_file_is_an_error() {
        let data = tempfile::tempdir().unwrap();
        let image = StoredImage { sha256: Sha256::digest(b"an image").into(), extension: "png".to_string() };
        let path = image.path(data.path());
        assert!(path.ends_with(format!("kept-pictures/{}/{}", &image.file_name()[..2], image.file_name())));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"an image").unwrap();
        assert_eq!(image.read(data.path()).unwrap(), b"an image");
        std::fs::write(&path, b"an im").unwrap();
        assert!(image.read(data.path()).is_err());
    }

    #[test]
    fn only_files_of_kiln_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let digest = "ab".repeat(32);
        let write = |relative: String| {
            let path = folder.path().join(relative);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "bytes").unwrap();
            path
        };
        let image_files = ["png", "png.part", "jpg"].map(|extension| write(format!("ab/{digest}.{extension}")));
        let other_files = [
            ".DS_Store".to_string(),
            "cats/x.jpg".to_string(),
            "ab/x.jpg".to_string(),
            "ab/notes".to_string(),
            format!("ab/{digest}"),
            format!("ab/{digest}.PNG"),
            format!("ab/{digest}.txt"),
            format!("ab/{digest}.json"),
            format!("ab/{digest}.png.old"),
            format!("ab/{digest}x.png"),
            format!("ac/{digest}.png"),
            format!("cats/{digest}.png"),
            format!("ab/{}.png/x", "ab".repeat(32).replace("ba", "bb")),
        ]
        .map(write);
        let row = |bytes| ExpectedFile { sha256: [0xab; 32], bytes };
        let mut rows = HashMap::from([(format!("ab/{digest}.png"), row(5)), (format!("ab/{digest}.jpg"), row(6))]);
        remove_unexpected(folder.path(), &mut rows).unwrap();
        assert_eq!(image_files.map(|path| path.exists()), [true, false, false]);
        assert!(other_files.iter().all(|path| path.exists()), "{other_files:?}");
        assert_eq!(rows.keys().collect::<Vec<_>>(), [&format!("ab/{digest}.jpg")]);
        remove_unexpected(&folder.path().join("nothing"), &mut rows).unwrap();
    }
}
