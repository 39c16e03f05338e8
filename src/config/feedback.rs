//! Where predictions are recorded, if anywhere, and what is kept of them. Nothing else has a meaning without the folder.

use std::path::PathBuf;

use super::ConfigError;
use super::values::Reader;
use kiln_feedback::{Config, Percentage};

pub(super) fn feedback(read: &Reader<'_>) -> Result<Option<Config>, ConfigError> {
    let image_sample_percent: Percentage = read.parsed("image-sample-percent", "a percentage from 0 to 100, such as 5 or 0.5")?;
    let config = Config {
        data_dir: read.text("data-dir").map(PathBuf::from).unwrap_or_default(),
        prediction_retention_count: read.between("prediction-retention-count", 1, 1_000_000_000)?,
        prediction_retention: read.long("prediction-retention")?,
        image_sample_percent,
        image_retention: read.long("image-retention")?,
        image_retention_bytes: read.bytes("image-retention-bytes", 0, 1 << 50)? as u64,
    };
    match read.text("data-dir") {
        Some(_) => Ok(Some(config)),
        None if image_sample_percent.fraction() > 0.0 => {
            Err(read.refuse("image-sample-percent", "needs data-dir beside it: the folder that pictures are kept in"))
        }
        None => Ok(None),
    }
}
