//! Where predictions are recorded, if anywhere, and what is kept of them. Nothing else has a meaning without the folder.

use std::path::PathBuf;

use super::ConfigError;
use super::values::Reader;
use kiln_feedback::{Config, Percentage};

pub(super) fn feedback(read: &Reader<'_>) -> Result<Option<Config>, ConfigError> {
    let keep_images: Percentage = read.parsed("keep-images", "a percentage from 0 to 100, such as 5 or 0.5")?;
    let config = Config {
        folder: read.text("data-dir").map(PathBuf::from).unwrap_or_default(),
        predictions_kept: read.between("predictions-kept", 1, 1_000_000_000)?,
        predictions_kept_for: read.long("predictions-kept-for")?,
        keep_images,
        images_kept_for: read.long("images-kept-for")?,
        images_kept_bytes: read.bytes("images-kept-bytes", 0, 1 << 50)? as u64,
    };
    match read.text("data-dir") {
        Some(_) => Ok(Some(config)),
        None if keep_images.part() > 0.0 => {
            Err(read.refuse("keep-images", "needs data-dir beside it: the folder that pictures are kept in"))
        }
        None => Ok(None),
    }
}
