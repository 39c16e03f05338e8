//! `kiln feedback export`: where it goes, and what it may take the place of.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::super::progress;
use super::dataset::{Dataset, IMAGES};
use super::outside::is_inside;
use super::placement::Placement;
use kiln_feedback::{RecordedModel, OpenError, ReadError, Reader};

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
    /// Pictures of somebody else.
    #[error("{folder} is there, and no export has made it. Name another folder, or move it away.", folder = .0.display())]
    NotAnExports(PathBuf),
    /// The export would take the place of what it is made of.
    #[error("{folder} lies in the folder of --data-dir, or that one in its pictures. Name a folder beside it.", folder = .0.display())]
    Overlaps(PathBuf),
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
    // What others are judged for the first time meanwhile is for the next export.
    let models: Vec<RecordedModel> = models(&reader, model)?.into_iter().filter(|model| model.labelled > 0).collect();
    prepare(data, out, force)?;
    let mut placement = Placement::default();
    for model in &models {
        reader.for_each_labelled(model, |judged| {
            placement.see(&model.name, &judged);
            Ok(())
        })?;
    }
    let partial = out.join(PARTIAL);
    let file = File::create(&partial).map_err(|error| output(&partial, error))?;
    let mut dataset = Dataset::new(data, out, file, placement);
    let judged = models.iter().map(|model| model.labelled).sum();
    let bar = progress::bar(judged, "{bar:40} {pos}/{len} judged predictions, {per_sec}, {eta} left");
    for model in &models {
        let each = reader.for_each_labelled(model, |judged| {
            bar.inc(1);
            dataset.add(model, &judged)
        });
        each.map_err(|error| match error {
            ReadError::Callback(error) => output(out, error),
            error => error.into(),
        })?;
    }
    bar.finish_and_clear();
    let told = dataset.finish().map_err(|error| output(&partial, error))?;
    // An older one gives way.
    std::fs::rename(&partial, out.join(LINES)).map_err(|error| output(&partial, error))?;
    Ok(told)
}

fn models(reader: &Reader, name: Option<&str>) -> Result<Vec<RecordedModel>, ExportError> {
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

/// A folder that is empty but for what the user wants to be there, and none of the server's own. Of an earlier export, be it one
/// that was broken off, nothing stays: a trainer would take its pictures for those of this one.
fn prepare(data: &Path, out: &Path, force: bool) -> Result<(), ExportError> {
    let images = out.join(IMAGES);
    let refuse_overlap = || {
        let overlaps = is_inside(data, out) || images.exists() && is_inside(&images, data);
        if overlaps { Err(ExportError::Overlaps(out.to_path_buf())) } else { Ok(()) }
    };
    refuse_overlap()?;
    std::fs::create_dir_all(out).map_err(|error| output(out, error))?;
    // Where folders were missing on its way, it may lead elsewhere now.
    refuse_overlap()?;
    let mut entries = std::fs::read_dir(out).map_err(|error| output(out, error))?;
    if entries.next().is_some() && !force {
        return Err(ExportError::NotEmpty(out.to_path_buf()));
    }
    let marks = [LINES, PARTIAL].map(|name| out.join(name)).into_iter().filter(|mark| mark.exists());
    let marks: Vec<PathBuf> = marks.collect();
    if images.exists() {
        // Another export would take it for one of its own.
        if marks.is_empty() {
            return Err(ExportError::NotAnExports(images));
        }
        std::fs::remove_dir_all(&images).map_err(|error| output(&images, error))?;
    }
    // Last, so that what is broken off here is known for an export the next time.
    marks.iter().try_for_each(|mark| std::fs::remove_file(mark).map_err(|error| output(mark, error)))
}

fn output(path: &Path, error: io::Error) -> ExportError {
    ExportError::Output { path: path.to_path_buf(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_not_touched_unless_it_was_an_export() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let prepare = |force| prepare(data.path(), out.path(), force);
        let (kept, images) = (out.path().join("thesis.txt"), out.path().join(IMAGES));
        std::fs::write(&kept, "years of work").unwrap();
        std::fs::create_dir(&images).unwrap();
        assert!(matches!(prepare(false), Err(ExportError::NotEmpty(_))));
        assert!(matches!(prepare(true), Err(ExportError::NotAnExports(_))));
        std::fs::remove_dir(&images).unwrap();
        prepare(true).unwrap();
        assert!(kept.exists());
        // One that was broken off is one too.
        for mark in [LINES, PARTIAL] {
            std::fs::create_dir_all(&images).unwrap();
            std::fs::write(out.path().join(mark), "{}").unwrap();
            prepare(true).unwrap();
            assert!(kept.exists() && !images.exists() && !out.path().join(mark).exists(), "{mark}");
        }
    }

    #[test]
    fn what_a_server_keeps_is_never_taken_for_an_export() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("set/images/data");
        std::fs::create_dir_all(data.join(IMAGES)).unwrap();
        std::fs::write(data.join(LINES), "{}").unwrap();
        for out in ["set/images/data", "set/images/data/export", "set/images/data/../data/images", "set"] {
            let out = parent.path().join(out);
            for _ in 0..2 {
                let refused = prepare(&data, &out, true);
                assert!(matches!(refused, Err(ExportError::Overlaps(_))), "{}: {refused:?}", out.display());
            }
        }
        assert!(data.join(IMAGES).exists() && data.join(LINES).exists());
        // By way of a folder that is not there yet.
        let refused = prepare(&data, &parent.path().join("new/../set/images/data"), true);
        assert!(matches!(refused, Err(ExportError::Overlaps(_))), "{refused:?}");
        prepare(&data, &parent.path().join("beside"), true).unwrap();
    }
}
