//! What a file's name may be. Nothing is ever opened by it; only its extension matters.

use bytes::Bytes;

use super::error::ImageError;
use super::format::Format;
use super::format_set::FormatSet;

/// The longest extension that is shown back, in characters.
const SHOWN_EXTENSION: usize = 16;
/// The longest name that is shown back, in characters.
const SHOWN_NAME: usize = 100;

/// An image as a client sent it.
#[derive(Clone, Debug)]
pub struct EncodedImage {
    /// The encoded file.
    pub bytes: Bytes,
    /// The file name, if the client sent one. Only its extension matters.
    pub file_name: Option<String>,
}

/// Refuses a name whose extension is none of `accepted`. No name, and a name without an extension, are fine.
///
/// # Errors
///
/// [`ImageError::ExtensionNotAccepted`], with the extension made fit for a log line.
pub fn check_file_name(name: Option<&str>, accepted: &FormatSet) -> Result<(), ImageError> {
    let Some(extension) = name.and_then(extension) else {
        return Ok(());
    };
    if Format::from_extension(extension).is_some_and(|format| accepted.contains(format)) {
        return Ok(());
    }
    let extension = shown(extension, SHOWN_EXTENSION);
    Err(ImageError::ExtensionNotAccepted { extension, accepted: *accepted })
}

/// What follows the last dot of the last path component; a leading dot makes no extension.
fn extension(name: &str) -> Option<&str> {
    let (stem, extension) = last_component(name).rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

/// A client's file name made fit for a log line: the last path component, with `?` in place of each control,
/// formatting (such as right-to-left override) or other special character, cut to 100 characters.
pub fn sanitise_file_name(name: &str) -> String {
    shown(last_component(name), SHOWN_NAME)
}

/// Letters and digits of any script, ASCII punctuation and spaces stay.
fn shown(text: &str, most: usize) -> String {
    let harmless = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation() || c == ' ';
    let mut shown: String = text.chars().take(most).map(|c| if harmless(c) { c } else { '?' }).collect();
    if text.chars().nth(most).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Either slash may have been the separator where the file came from.
fn last_component(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
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
        let fine = ["cat.jpg", "CAT.JPEG", "a.b.png", "blob", "", ".jpgrc", "dir.exe/cat.gif", "C:\\x.y\\cat", "cat."];
        for name in fine {
            assert_eq!(verdict(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn other_extensions_are_refused_and_shown_harmlessly() {
        for name in ["cat.exe", "cat.jpg.php", "../../etc/passwd.txt", "cat.webp", "cat.jpg ", "cat.jpg\0"] {
            assert!(matches!(verdict(name), Err(ImageError::ExtensionNotAccepted { .. })), "{name:?}");
        }
        let refused = verdict("x.a\nb\u{1b}[31m-and-a-very-long-tail").unwrap_err().to_string();
        assert!(refused.contains("'a?b?[31m-and-a-v...'"), "{refused}");
    }

    #[test]
    fn a_name_in_a_log_is_one_harmless_component() {
        assert_eq!(sanitise_file_name("../../etc/passwd"), "passwd");
        assert_eq!(sanitise_file_name("C:\\Users\\me\\Müll 1.jpg"), "Müll 1.jpg");
        assert_eq!(sanitise_file_name("a\r\nINFO all is well\u{202e}\u{7f}\u{1b}[2J"), "a??INFO all is well???[2J");
        assert_eq!(sanitise_file_name(&"é".repeat(1000)), "é".repeat(100) + "...");
        assert_eq!(sanitise_file_name(""), "");
    }
}
