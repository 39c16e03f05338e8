//! The files of an export: a line for each judged prediction, and pictures in folders by their true class, as `ImageFolder` of
//! torchvision and its like read them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::json;

use super::placement::Placement;
use kiln_feedback::{RecordedModel, LabelledPrediction};

/// The folder with a folder for each class, or with one for each model that has those.
pub(super) const IMAGES: &str = "images";

/// An export that is being written.
pub(super) struct Dataset<'a> {
    data: &'a Path,
    out: &'a Path,
    lines: BufWriter<File>,
    placement: Placement,
    /// Pictures that are there, for one may be judged several times.
    written: BTreeSet<String>,
    counts: Counts,
}

impl<'a> Dataset<'a> {
    /// Lines go to `file`, pictures from the folder `data` to those folders in `out` that `placement` says.
    pub(super) fn new(data: &'a Path, out: &'a Path, file: File, placement: Placement) -> Self {
        let (lines, written, counts) = (BufWriter::new(file), BTreeSet::new(), Counts::default());
        Self { data, out, lines, placement, written, counts }
    }

    /// One more line, and its picture if there is one.
    pub(super) fn add(&mut self, model: &RecordedModel, judged: &LabelledPrediction) -> io::Result<()> {
        let image = self.picture(model, judged)?;
        self.counts.lines += 1;
        let (predicted_id, predicted) = &judged.predicted;
        let (true_id, true_label) = judged.true_class.clone().unzip();
        let line = json!({
            "prediction_id": judged.prediction.to_string(),
            "time": humantime::format_rfc3339_millis(judged.time).to_string(),
            "model": model.name,
            "version": model.version,
            "predicted_id": predicted_id,
            "predicted": predicted,
            "probability": judged.probability,
            "verdict": judged.kind.as_str(),
            "true_id": true_id,
            "true_label": true_label,
            "note": judged.note,
            "image": image,
        });
        writeln!(self.lines, "{line}")
    }

    /// Everything is written; gives back what there is to tell.
    pub(super) fn finish(mut self) -> io::Result<String> {
        self.lines.flush()?;
        Ok(self.counts.told(self.out))
    }

    /// Copies the picture to its class's folder, if there is one of both, and gives back where it lies in `out`.
    fn picture(&mut self, model: &RecordedModel, judged: &LabelledPrediction) -> io::Result<Option<String>> {
        let Some(picture) = &judged.image else {
            *if judged.image_was_stored { &mut self.counts.let_go } else { &mut self.counts.never_kept } += 1;
            return Ok(None);
        };
        let Some(class) = &judged.true_class else {
            self.counts.no_class += 1;
            return Ok(None);
        };
        let Some(folder) = self.placement.folder(&model.name, judged, class) else {
            self.counts.overruled += 1;
            return Ok(None);
        };
        let path = format!("{folder}/{}", picture.file_name());
        if !self.written.contains(&path) {
            // It may be let go while this runs.
            let Ok(bytes) = picture.read(self.data) else {
                self.counts.unreadable += 1;
                return Ok(None);
            };
            std::fs::create_dir_all(self.out.join(&folder))?;
            std::fs::write(self.out.join(&path), bytes)?;
            self.written.insert(path.clone());
        }
        self.counts.with += 1;
        Ok(Some(path))
    }
}

impl Counts {
    fn told(&self, out: &Path) -> String {
        let Self { lines, with, never_kept, let_go, unreadable, no_class, overruled } = self;
        let mut text = format!("{lines} judged predictions, {with} of them with a picture, are in {}\n", out.display());
        let mut reason = |count: usize, why: &str| {
            if count > 0 {
                text.push_str(&format!("{count} without a picture: {why}\n"));
            }
        };
        reason(*never_kept, "it was not kept; --image-sample-percent says which part is");
        reason(*let_go, "it was let go since; see --image-retention and --image-retention-bytes");
        reason(*unreadable, "its file is missing or damaged");
        reason(*no_class, "its true class is not known");
        reason(*overruled, "later feedback on the same picture says otherwise");
        text
    }
}

/// What became of the pictures.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    lines: usize,
    with: usize,
    never_kept: usize,
    let_go: usize,
    unreadable: usize,
    no_class: usize,
    overruled: usize,
}
