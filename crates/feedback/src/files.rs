//! The files of pictures that are kept: written whole or not at all, and made to agree with their rows at a start. What Kiln
//! cannot have written is left alone: the folder is a user's, and pictures of theirs may lie beside.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::private;

/// What the names of files end with that are not complete.
const PARTIAL: &str = ".part";
/// Those of all formats. What has a row goes by that.
const EXTENSIONS: [&str; 6] = ["png", "jpg", "gif", "webp", "bmp", "tiff"];

/// What a row says of its file.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) sha256: [u8; 32],
    pub(super) bytes: u64,
}

/// A file that is there whole or not at all, if the machine does not lose its power.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("a picture lies in a folder");
    private::make_folder(folder)?;
    let partial = PathBuf::from(format!("{}{PARTIAL}", path.display()));
    let mut file = private::create(&partial)?;
    let written = file.write_all(bytes).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // The disk is full perhaps.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

/// Deletes files that have no row, or another length than their row says, and takes the rows that have a file out of `rows`,
/// which are by where files lie: `<two digits>/<name>`.
pub(super) fn tidy(folder: &Path, rows: &mut HashMap<String, Row>) -> io::Result<()> {
    for (digits, folder) in entries(folder, |kind| kind.is_dir())? {
        if !is_hex(&digits, 2) {
            continue;
        }
        for (name, path) in entries(&folder, |kind| kind.is_file())? {
            let place = format!("{digits}/{name}");
            if !rows.contains_key(&place) && !is_ours(&digits, &name) {
                continue;
            }
            let length = std::fs::metadata(&path)?.len();
            if rows.get(&place).is_some_and(|row| row.bytes == length) {
                rows.remove(&place);
            } else {
                std::fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// The entries of a kind with their names; none of a folder that is not there.
fn entries(folder: &Path, wanted: impl Fn(std::fs::FileType) -> bool) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A name that is no text is not one of ours.
        if let (true, Ok(name)) = (wanted(entry.file_type()?), entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// Whether a file of this name, in the folder of these digits, can have been written here.
fn is_ours(digits: &str, name: &str) -> bool {
    let Some((sha256, extension)) = name.split_once('.') else { return false };
    let extension = extension.strip_suffix(PARTIAL).unwrap_or(extension);
    is_hex(sha256, 64) && sha256.starts_with(digits) && EXTENSIONS.contains(&extension)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_here_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let digest = "ab".repeat(32);
        let write = |place: String| {
            let path = folder.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "bytes").unwrap();
            path
        };
        let ours = ["png", "png.part", "jpg"].map(|extension| write(format!("ab/{digest}.{extension}")));
        let not_ours = [
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
        let row = |bytes| Row { sha256: [0xab; 32], bytes };
        let mut rows = HashMap::from([(format!("ab/{digest}.png"), row(5)), (format!("ab/{digest}.jpg"), row(6))]);
        tidy(folder.path(), &mut rows).unwrap();
        assert_eq!(ours.map(|path| path.exists()), [true, false, false]);
        assert!(not_ours.iter().all(|path| path.exists()), "{not_ours:?}");
        assert_eq!(rows.keys().collect::<Vec<_>>(), [&format!("ab/{digest}.jpg")]);
        tidy(&folder.path().join("nothing"), &mut rows).unwrap();
    }
}
