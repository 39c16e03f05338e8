//! `kiln feedback report`: a page with plots.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::feedback::{ModelFeedback, OpenError, ReadError, Reader, page};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// What was recorded.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The same.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The page.
    #[error("cannot write {path}: {error}", path = path.display())]
    Output {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Writes the page about all models to `out`, and gives back what there is to tell.
///
/// # Errors
///
/// See [`ReportError`].
pub fn report(data: &Path, out: &Path) -> Result<String, ReportError> {
    let reader = Reader::open(data)?;
    let mut models = Vec::new();
    for model in reader.models(None)? {
        let mut judged = Vec::new();
        reader.each(&model, |one| {
            judged.push(one);
            Ok(())
        })?;
        let confidence = reader.confidence(&model)?;
        models.push(ModelFeedback { model, judged, confidence });
    }
    let created = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let written = std::fs::write(out, page(&created, &models));
    written.map_err(|error| ReportError::Output { path: out.to_path_buf(), error })?;
    let judged: usize = models.iter().map(|model| model.judged.len()).sum();
    Ok(format!("{judged} judged predictions are shown in {}\n", out.display()))
}
