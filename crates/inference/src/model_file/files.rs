//! Reads files that a user supplies, with a maximum size.

use std::path::Path;

use model_import::import::{ReadFileError, read_file};

use super::error::ModelFileError;

/// Reads a file of at most `max` bytes; `None` if it does not exist.
pub(super) fn read_optional(path: &Path, max: u64) -> Result<Option<Vec<u8>>, ModelFileError> {
    match read_file(path, max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadFileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ModelFileError::invalid(path, error.to_string())),
    }
}

/// Returns the error for a path that cannot be read.
pub(super) fn unreadable(path: &Path, error: &dyn std::error::Error) -> ModelFileError {
    ModelFileError::Unreadable { path: path.to_path_buf(), reason: error.to_string() }
}

/// Returns the text of a file without the byte order mark that some editors write.
pub(super) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, ModelFileError> {
    let text = String::from_utf8(bytes).map_err(|_| ModelFileError::invalid(path, "it is not UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}
