//! `kiln feedback export`: where it goes, and what it may take the place of.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::super::progress;
use super::dataset::{Dataset, IMAGES};
use crate::feedback::{Counted, OpenError, ReadError, Reader};

/// The file with a line for each judged prediction. It is there once everything else is.
const LINES: &str = "feedback.jsonl";
/// Its name until then.
const PARTIAL: &str = "feedback.jsonl.part";

/// Why nothing, or not all, was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What was recorded.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The same.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing was recorded of that model.
    #[error("nothing was recorded of a model '{name}'; there is {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Something else may be there.
    #[error("{folder} is not empty. Name another folder, or say --force.", folder = .0.display())]
    NotEmpty(PathBuf),
    /// The folder of the export.
    #[error("cannot write to {path}: {error}", path = path.display())]
    Output {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Writes all feedback, or that on one model, to the folder `out`, and gives back what there is to tell.
///
/// # Errors
///
/// See [`ExportError`].
pub fn export(data: &Path, out: &Path, model: Option<&str>, force: bool) -> Result<String, ExportError> {
    let reader = Reader::open(data)?;
    let models = models(&reader, model)?;
    let output = |path: &Path, error| ExportError::Output { path: path.to_path_buf(), error };
    prepare(out, force)?;
    let partial = out.join(PARTIAL);
    let file = File::create(&partial).map_err(|error| output(&partial, error))?;
    let mut dataset = Dataset::new(data, out, file);
    let judged = models.iter().map(|model| model.judged).sum();
    let bar = progress::bar(judged, "{bar:40} {pos}/{len} judged predictions, {per_sec}, {eta} left");
    for model in &models {
        let each = reader.each(model, |judged| {
            bar.inc(1);
            dataset.add(model, &judged)
        });
        each.map_err(|error| match error {
            ReadError::Use(error) => output(out, error),
            error => error.into(),
        })?;
    }
    bar.finish_and_clear();
    let told = dataset.finish().map_err(|error| output(&partial, error))?;
    // An older one gives way.
    std::fs::rename(&partial, out.join(LINES)).map_err(|error| output(&partial, error))?;
    Ok(told)
}

fn models(reader: &Reader, name: Option<&str>) -> Result<Vec<Counted>, ExportError> {
    let models = reader.models(name)?;
    match name {
        Some(name) if models.is_empty() => {
            let mut known: Vec<String> =
                reader.models(None)?.into_iter().map(|model| format!("'{}'", model.name)).collect();
            known.dedup();
            let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
            Err(ExportError::UnknownModel { name: name.to_string(), known })
        }
        _ => Ok(models),
    }
}

/// A folder that is empty but for what the user wants to be there. Of an earlier export nothing stays: a trainer would take its
/// pictures for those of this one.
fn prepare(out: &Path, force: bool) -> Result<(), ExportError> {
    let output = |path: &Path, error| ExportError::Output { path: path.to_path_buf(), error };
    std::fs::create_dir_all(out).map_err(|error| output(out, error))?;
    let mut entries = std::fs::read_dir(out).map_err(|error| output(out, error))?;
    if entries.next().is_some() && !force {
        return Err(ExportError::NotEmpty(out.to_path_buf()));
    }
    let (lines, images) = (out.join(LINES), out.join(IMAGES));
    if lines.exists() {
        std::fs::remove_file(&lines).map_err(|error| output(&lines, error))?;
        if images.exists() {
            std::fs::remove_dir_all(&images).map_err(|error| output(&images, error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_not_touched_unless_it_was_an_export() {
        let out = tempfile::tempdir().unwrap();
        let (kept, images) = (out.path().join("thesis.txt"), out.path().join(IMAGES));
        std::fs::write(&kept, "years of work").unwrap();
        std::fs::create_dir(&images).unwrap();
        assert!(matches!(prepare(out.path(), false), Err(ExportError::NotEmpty(_))));
        prepare(out.path(), true).unwrap();
        assert!(kept.exists() && images.exists());
        std::fs::write(out.path().join(LINES), "{}").unwrap();
        prepare(out.path(), true).unwrap();
        assert!(kept.exists() && !images.exists() && !out.path().join(LINES).exists());
    }
}
