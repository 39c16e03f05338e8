//! Checks and sanitises file names from clients. Kiln never opens a file by such a name; only the extension matters.

use bytes::Bytes;

use super::error::ImageError;
use super::format::{Format, FormatSet};
use super::other_formats;

/// Maximum length of an extension in an error message, in characters.
const MAX_EXTENSION_CHARS: usize = 16;
/// Maximum length of a sanitised name, in characters.
const MAX_NAME_CHARS: usize = 100;

/// An image as a client sent it.
#[derive(Clone, Debug)]
pub struct EncodedImage {
    /// The encoded file.
    pub bytes: Bytes,
    /// The file name, if the client sent one. Only its extension matters.
    pub file_name: Option<String>,
}

/// Fails if the extension of `name` is not in `accepted`. A missing name and a name without an extension are accepted. If `bytes` are
/// of a format that Kiln does not decode, every name is accepted, because the error of the content says more.
///
/// # Errors
///
/// [`ImageError::ExtensionNotAccepted`], with the sanitised extension.
pub fn check_file_name(name: Option<&str>, bytes: &[u8], accepted: &FormatSet) -> Result<(), ImageError> {
    let Some(extension) = name.and_then(extension) else {
        return Ok(());
    };
    let is_accepted = Format::from_extension(extension).is_some_and(|format| accepted.contains(format));
    if is_accepted || other_formats::detect(bytes).is_some() {
        return Ok(());
    }
    let extension = sanitise(extension, MAX_EXTENSION_CHARS);
    Err(ImageError::ExtensionNotAccepted { extension, accepted: *accepted })
}

/// Returns the text after the last dot of the last path component. A leading dot does not start an extension.
fn extension(name: &str) -> Option<&str> {
    let (stem, extension) = last_component(name).rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then_some(extension)
}

/// Returns a form of a client's file name that is safe in a log line: the last path component, with `?` in place of each
/// control, formatting (such as right-to-left override) or other special character, truncated to 100 characters.
pub fn sanitise_file_name(name: &str) -> String {
    sanitise(last_component(name), MAX_NAME_CHARS)
}

/// Keeps letters and digits of any script, ASCII punctuation and spaces.
fn sanitise(text: &str, max_chars: usize) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation() || c == ' ';
    let mut safe: String = text.chars().take(max_chars).map(|c| if is_safe(c) { c } else { '?' }).collect();
    if text.chars().nth(max_chars).is_some() {
        safe.push_str("...");
    }
    safe
}

/// Splits at both kinds of slashes, since the client's system is unknown.
fn last_component(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str) -> Result<(), ImageError> {
        check_file_name(Some(name), b"", &FormatSet::default())
    }

    #[test]
    fn accepted_extensions_and_names_without_an_extension_pass() {
        assert_eq!(check_file_name(None, b"", &FormatSet::default()), Ok(()));
        let accepted =
            ["cat.jpg", "CAT.JPEG", "a.b.png", "blob", "", ".jpgrc", "dir.exe/cat.gif", "C:\\x.y\\cat", "cat."];
        for name in accepted {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn other_extensions_are_refused_and_sanitised() {
        for name in ["cat.exe", "cat.jpg.php", "../../etc/passwd.txt", "cat.webp", "cat.jpg ", "cat.jpg\0"] {
            assert!(matches!(check(name), Err(ImageError::ExtensionNotAccepted { .. })), "{name:?}");
        }
        let refused = check("x.a\nb\u{1b}[31m-and-a-very-long-tail").unwrap_err().to_string();
        assert!(refused.contains("'a?b?[31m-and-a-v...'"), "{refused}");
    }

    #[test]
    fn content_of_another_format_is_reported_rather_than_its_name() {
        assert_eq!(check_file_name(Some("a.pdf"), b"%PDF-1.7", &FormatSet::default()), Ok(()));
        assert!(check("a.pdf").is_err());
    }

    #[test]
    fn sanitise_keeps_the_last_path_component() {
        assert_eq!(sanitise_file_name("../../etc/passwd"), "passwd");
        assert_eq!(sanitise_file_name("C:\\Users\\me\\Müll 1.jpg"), "Müll 1.jpg");
        assert_eq!(sanitise_file_name("a\r\nINFO all is well\u{202e}\u{7f}\u{1b}[2J"), "a??INFO all is well???[2J");
        assert_eq!(sanitise_file_name(&"é".repeat(1000)), "é".repeat(100) + "...");
        assert_eq!(sanitise_file_name(""), "");
    }
}
