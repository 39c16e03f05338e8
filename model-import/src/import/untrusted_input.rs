//! Reads files that a user names, up to a maximum size, and makes text from such files safe for a terminal.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFileError {
    /// The path is a folder, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// The file is longer than the maximum.
    #[error("it has more than {0} bytes, the maximum")]
    TooLong(u64),
    /// The operating system returned an error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a regular file of at most `max` bytes.
///
/// # Errors
///
/// See [`ReadFileError`].
pub fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, ReadFileError> {
    // Checked before opening: opening a pipe blocks until another process writes to it.
    if !path.metadata()?.is_file() {
        return Err(ReadFileError::NotAFile);
    }
    let file = File::open(path)?;
    // Another file may have taken the path since.
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadFileError::NotAFile);
    }
    if metadata.len() > max {
        return Err(ReadFileError::TooLong(max));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(metadata.len() as usize).map_err(io::Error::from)?;
    // The file may grow while it is read.
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(ReadFileError::TooLong(max)) } else { Ok(bytes) }
}

/// Replaces the characters that a terminal interprets by U+FFFD: control characters, invisible line ends, and marks that change
/// the direction of writing. Line feeds and tabs stay.
pub fn terminal_text(text: &str) -> String {
    text.chars().map(|c| if is_interpreted(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// As [`terminal_text`], on one line: line feeds and tabs become spaces.
pub fn terminal_line(text: &str) -> String {
    terminal_text(text).replace(['\n', '\t'], " ")
}

/// Returns a path as one word of a POSIX shell, in quotes if it needs them.
pub fn shell_path(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

fn is_interpreted(c: char) -> bool {
    let is_line_end = matches!(c, '\u{2028}' | '\u{2029}');
    // Bidi_Control of Unicode's PropList.txt.
    let is_bidi = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() && !matches!(c, '\n' | '\t') || is_line_end || is_bidi
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn irregular_and_oversized_files_are_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read_file(file.path(), 5).unwrap(), b"12345");
        assert!(read_file(file.path(), 4).unwrap_err().to_string().contains("more than 4 bytes"));
        // A sparse file uses no disk space, but a reader would need memory for all of its bytes.
        file.as_file().set_len(1 << 40).unwrap();
        assert!(matches!(read_file(file.path(), 5), Err(ReadFileError::TooLong(5))));
        for other in [file.path().parent().unwrap(), Path::new("/dev/zero")] {
            assert!(matches!(read_file(other, u64::MAX), Err(ReadFileError::NotAFile)));
        }
        let nowhere = read_file(Path::new("/no/such"), 4).unwrap_err();
        assert!(matches!(nowhere, ReadFileError::Io(error) if error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn terminal_text_has_no_control_or_direction_characters() {
        assert_eq!(
            terminal_text("\u{1b}[2Jnet \u{9b}31m\u{202e}gpj\u{2028}\u{200f}\n\tgrün"),
            "\u{fffd}[2Jnet \u{fffd}31m\u{fffd}gpj\u{fffd}\u{fffd}\n\tgrün"
        );
        assert_eq!(terminal_line("\u{1b}[2Ja\n\tb"), "\u{fffd}[2Ja  b");
    }

    #[test]
    fn paths_that_a_shell_would_change_are_quoted() {
        for (path, expected) in [
            ("/srv/versions", "/srv/versions"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("my models", "'my models'"),
            ("$HOME", "'$HOME'"),
            ("~", "'~'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(shell_path(Path::new(path)), expected);
        }
    }
}
