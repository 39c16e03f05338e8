//! The files of an export: one JSON line per labelled prediction, and the images in one folder per true class, as
//! `ImageFolder` of torchvision and similar loaders read them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use kiln_feedback::{LabelledPrediction, RecordedModel};
use serde_json::json;

use super::class_folders::ClassFolders;

/// An export in progress.
pub(super) struct Dataset<'a> {
    data: &'a Path,
    out: &'a Path,
    lines: BufWriter<File>,
    class_folders: ClassFolders,
    /// Paths of written images. Several predictions may share an image.
    written: BTreeSet<String>,
    counts: Counts,
}

/// Counts of the written lines, and of the reasons for which a line has no image.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    lines: usize,
    with_image: usize,
    never_stored: usize,
    deleted: usize,
    unreadable: usize,
    no_class: usize,
    overruled: usize,
}

impl<'a> Dataset<'a> {
    /// Returns an export that writes lines to `lines`, and copies images from the folder `data` to class folders in
    /// `out`.
    pub(super) fn new(data: &'a Path, out: &'a Path, lines: File, class_folders: ClassFolders) -> Self {
        let (lines, written, counts) = (BufWriter::new(lines), BTreeSet::new(), Counts::default());
        Self { data, out, lines, class_folders, written, counts }
    }

    /// Writes the line of a labelled prediction, and its image if there is one.
    pub(super) fn add(&mut self, model: &RecordedModel, labelled: &LabelledPrediction) -> io::Result<()> {
        let image = self.add_image(model, labelled)?;
        self.counts.lines += 1;
        let (predicted_id, predicted) = &labelled.predicted;
        let (true_id, true_label) = labelled.true_class.clone().unzip();
        let line = json!({
            "prediction_id": labelled.prediction.to_string(),
            "time": humantime::format_rfc3339_millis(labelled.time).to_string(),
            "model": model.name,
            "version": model.version,
            "predicted_id": predicted_id,
            "predicted": predicted,
            "probability": labelled.probability,
            "verdict": labelled.kind.as_str(),
            "true_id": true_id,
            "true_label": true_label,
            "note": labelled.note,
            "image": image,
        });
        writeln!(self.lines, "{line}")
    }

    /// Writes the remaining lines and returns a summary.
    pub(super) fn finish(mut self) -> io::Result<String> {
        self.lines.flush()?;
        Ok(self.counts.summary(self.out))
    }

    /// Copies the image to the folder of its class and returns its path in `out`. Returns `None`, and counts the
    /// reason, if there is no image or no class.
    fn add_image(&mut self, model: &RecordedModel, labelled: &LabelledPrediction) -> io::Result<Option<String>> {
        let Some(image) = &labelled.image else {
            *if labelled.image_was_stored { &mut self.counts.deleted } else { &mut self.counts.never_stored } += 1;
            return Ok(None);
        };
        let Some(class) = &labelled.true_class else {
            self.counts.no_class += 1;
            return Ok(None);
        };
        let Some(folder) = self.class_folders.folder(&model.name, labelled, class) else {
            self.counts.overruled += 1;
            return Ok(None);
        };
        let path = format!("{folder}/{}", image.file_name());
        if !self.written.contains(&path) {
            // A running server may delete the image during the export.
            let Ok(bytes) = image.read(self.data) else {
                self.counts.unreadable += 1;
                return Ok(None);
            };
            std::fs::create_dir_all(self.out.join(&folder))?;
            std::fs::write(self.out.join(&path), bytes)?;
            self.written.insert(path.clone());
        }
        self.counts.with_image += 1;
        Ok(Some(path))
    }
}

impl Counts {
    fn summary(&self, out: &Path) -> String {
        let Self { lines, with_image, never_stored, deleted, unreadable, no_class, overruled } = self;
        let mut text =
            format!("{lines} labelled predictions, {with_image} of them with an image, are in {}\n", out.display());
        let mut reason = |count: usize, why: &str| {
            if count > 0 {
                text.push_str(&format!("{count} without an image: {why}\n"));
            }
        };
        reason(*never_stored, "the server did not store it; --image-sample-percent sets the percentage that it stores");
        reason(*deleted, "the server has deleted it; see --image-retention and --image-retention-bytes");
        reason(*unreadable, "its file is missing or damaged");
        reason(*no_class, "its true class is not known");
        reason(*overruled, "later feedback on the same image contradicts it");
        text
    }
}
