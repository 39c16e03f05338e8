//! What a file's name may be. Nothing is ever opened by it; only its extension matters.

use super::error::ImageError;
use super::format::{Format, FormatSet};

/// The longest extension that is shown back.
const SHOWN: usize = 16;

/// Refuses a name whose extension is none of `accepted`. No name, and a name without an extension, are fine.
///
/// # Errors
///
/// [`ImageError::ExtensionNotAccepted`], with the extension made fit for a log line.
pub fn check_file_name(name: Option<&str>, accepted: &FormatSet) -> Result<(), ImageError> {
    let Some(extension) = name.and_then(extension) else {
        return Ok(());
    };
    let lower = extension.to_ascii_lowercase();
    if accepted.iter().flat_map(Format::extensions).any(|known| *known == lower) {
        return Ok(());
    }
    Err(ImageError::ExtensionNotAccepted { extension: shown(extension), accepted: *accepted })
}

/// What follows the last dot of the last path component; a leading dot makes no extension.
fn extension(name: &str) -> Option<&str> {
    let file = name.rsplit(['/', '\\']).next()?;
    let (stem, extension) = file.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

/// Control and other unprintable characters become `?`, and what is too long is cut.
fn shown(extension: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    extension.chars().take(SHOWN).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str) -> Result<(), ImageError> {
        check_file_name(Some(name), &FormatSet::default())
    }

    #[test]
    fn accepted_extensions_and_names_without_one_pass() {
        assert_eq!(check_file_name(None, &FormatSet::default()), Ok(()));
        for name in ["cat.jpg", "CAT.JPEG", "a.b.png", "blob", "", ".jpgrc", "dir.exe/cat.gif", "C:\\x.y\\cat", "cat."]
        {
            assert_eq!(verdict(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn other_extensions_are_refused_and_shown_harmlessly() {
        for name in ["cat.exe", "cat.jpg.php", "../../etc/passwd.txt", "cat.webp"] {
            assert!(matches!(verdict(name), Err(ImageError::ExtensionNotAccepted { .. })), "{name:?}");
        }
        let refused = verdict("x.a\nb\u{1b}[31m-and-a-very-long-tail").unwrap_err().to_string();
        assert!(refused.contains("'a?b?[31m-and-a-v'"), "{refused}");
    }
}
