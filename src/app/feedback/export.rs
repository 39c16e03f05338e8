//! `kiln feedback export`: checks the output folder and writes a [`Dataset`] to it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use kiln_feedback::{OpenError, ReadError, Reader, RecordedModel};

use super::super::progress;
use super::class_folders::ClassFolders;
use super::dataset::Dataset;
use super::{IMAGES, is_inside};

/// File with one line per labelled prediction. It appears after all other files, so its presence means a complete
/// export.
const LINES: &str = "feedback.jsonl";
/// Name of that file during the export.
const PARTIAL: &str = "feedback.jsonl.part";

/// The error of [`export_feedback`].
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recorded predictions cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The recorded predictions cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There are no predictions of that model.
    #[error("no predictions are recorded for model '{name}'; there is {known}")]
    UnknownModel {
        /// The requested name.
        name: String,
        /// The names of the recorded models.
        known: String,
    },
    /// The output folder contains files.
    #[error("{folder} is not empty; name another folder, or add --force", folder = .0.display())]
    NotEmpty(PathBuf),
    /// The output folder contains images that no export wrote.
    #[error("{folder} exists, and no export wrote it; name another folder, or move it away", folder = .0.display())]
    NotAnExport(PathBuf),
    /// The export would overwrite the recorded data.
    #[error(
        "{folder} lies in the folder of --data-dir, or that folder lies in its images; name a folder beside --data-dir",
        folder = .0.display()
    )]
    Overlaps(PathBuf),
    /// A file or folder of the export cannot be written.
    #[error("cannot write to {path}: {error}", path = path.display())]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
}

/// Writes the feedback on all models, or on one, to the folder `out`. Returns a summary.
///
/// # Errors
///
/// See [`ExportError`].
pub fn export_feedback(data: &Path, out: &Path, model: Option<&str>, force: bool) -> Result<String, ExportError> {
    let reader = Reader::open(data)?;
    // A model that receives its first feedback during the export is part of the next one.
    let models: Vec<RecordedModel> =
        recorded_models(&reader, model)?.into_iter().filter(|model| model.labelled > 0).collect();
    prepare(data, out, force)?;
    let mut class_folders = ClassFolders::default();
    for model in &models {
        reader.for_each_labelled(model, |labelled| {
            class_folders.add(&model.name, &labelled);
            Ok(())
        })?;
    }
    let partial = out.join(PARTIAL);
    let file = File::create(&partial).map_err(|error| output(&partial, error))?;
    let mut dataset = Dataset::new(data, out, file, class_folders);
    let total = models.iter().map(|model| model.labelled).sum();
    let bar = progress::bar(total, "{bar:40} {pos}/{len} labelled predictions, {per_sec}, {eta} left");
    for model in &models {
        let written = reader.for_each_labelled(model, |labelled| {
            bar.inc(1);
            dataset.add(model, &labelled)
        });
        written.map_err(|error| match error {
            ReadError::Callback(error) => output(out, error),
            error => error.into(),
        })?;
    }
    bar.finish_and_clear();
    let summary = dataset.finish().map_err(|error| output(&partial, error))?;
    // Replaces the file of an earlier export.
    std::fs::rename(&partial, out.join(LINES)).map_err(|error| output(&partial, error))?;
    Ok(summary)
}

fn recorded_models(reader: &Reader, name: Option<&str>) -> Result<Vec<RecordedModel>, ExportError> {
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

/// Creates the output folder, or deletes an earlier export in it, complete or not: a training program would read its
/// images as part of the new export. Other files of the user stay, and files of a server are never touched.
fn prepare(data: &Path, out: &Path, force: bool) -> Result<(), ExportError> {
    let images = out.join(IMAGES);
    let refuse_overlap = || {
        let overlaps = is_inside(data, out) || images.exists() && is_inside(&images, data);
        if overlaps { Err(ExportError::Overlaps(out.to_path_buf())) } else { Ok(()) }
    };
    refuse_overlap()?;
    std::fs::create_dir_all(out).map_err(|error| output(out, error))?;
    // Again: with the folders that were missing before, the path may lead to another place.
    refuse_overlap()?;
    let mut entries = std::fs::read_dir(out).map_err(|error| output(out, error))?;
    if entries.next().is_some() && !force {
        return Err(ExportError::NotEmpty(out.to_path_buf()));
    }
    let marks = [LINES, PARTIAL].map(|name| out.join(name)).into_iter().filter(|mark| mark.exists());
    let marks: Vec<PathBuf> = marks.collect();
    if images.exists() {
        // Without a mark, the images are not from an export.
        if marks.is_empty() {
            return Err(ExportError::NotAnExport(images));
        }
        std::fs::remove_dir_all(&images).map_err(|error| output(&images, error))?;
    }
    // The marks go last, so that the next export recognises a deletion that was interrupted here.
    marks.iter().try_for_each(|mark| std::fs::remove_file(mark).map_err(|error| output(mark, error)))
}

fn output(path: &Path, error: io::Error) -> ExportError {
    ExportError::Output { path: path.to_path_buf(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_files_are_kept_unless_they_are_an_export() {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let prepare = |force| prepare(data.path(), out.path(), force);
        let (kept, images) = (out.path().join("thesis.txt"), out.path().join(IMAGES));
        std::fs::write(&kept, "years of work").unwrap();
        std::fs::create_dir(&images).unwrap();
        assert!(matches!(prepare(false), Err(ExportError::NotEmpty(_))));
        assert!(matches!(prepare(true), Err(ExportError::NotAnExport(_))));
        std::fs::remove_dir(&images).unwrap();
        prepare(true).unwrap();
        assert!(kept.exists());
        // An interrupted export is an export.
        for mark in [LINES, PARTIAL] {
            std::fs::create_dir_all(&images).unwrap();
            std::fs::write(out.path().join(mark), "{}").unwrap();
            prepare(true).unwrap();
            assert!(kept.exists() && !images.exists() && !out.path().join(mark).exists(), "{mark}");
        }
    }

    #[test]
    fn data_of_a_server_is_never_an_output_folder() {
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
        // Through a folder that does not exist yet.
        let refused = prepare(&data, &parent.path().join("new/../set/images/data"), true);
        assert!(matches!(refused, Err(ExportError::Overlaps(_))), "{refused:?}");
        prepare(&data, &parent.path().join("beside"), true).unwrap();
    }
}
