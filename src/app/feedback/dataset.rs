//! The files of an export: a line for each judged prediction, and pictures in folders by their true class, as `ImageFolder` of
//! torchvision and its like read them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::json;

use crate::feedback::{Counted, Judged};

/// The folder with a folder for each class.
pub(super) const IMAGES: &str = "images";
/// The most characters of a label in a folder's name.
const SLUG: usize = 40;

/// An export that is being written.
pub(super) struct Dataset<'a> {
    data: &'a Path,
    out: &'a Path,
    lines: BufWriter<File>,
    /// Pictures that are there, for one may be judged several times.
    written: BTreeSet<String>,
    counts: Counts,
}

impl<'a> Dataset<'a> {
    /// Lines go to `file`, pictures from the folder `data` to the folder `out`.
    pub(super) fn new(data: &'a Path, out: &'a Path, file: File) -> Self {
        Self { data, out, lines: BufWriter::new(file), written: BTreeSet::new(), counts: Counts::default() }
    }

    /// One more line, and its picture if there is one.
    pub(super) fn add(&mut self, model: &Counted, judged: &Judged) -> io::Result<()> {
        let image = self.picture(judged)?;
        self.counts.lines += 1;
        let (predicted_id, predicted) = &judged.predicted;
        let (true_id, true_label) = judged.truth.clone().unzip();
        let line = json!({
            "prediction_id": judged.prediction.to_string(),
            "time": humantime::format_rfc3339_millis(judged.time).to_string(),
            "model": model.name,
            "version": model.version,
            "predicted_id": predicted_id,
            "predicted": predicted,
            "probability": judged.probability,
            "verdict": judged.verdict.word(),
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
    fn picture(&mut self, judged: &Judged) -> io::Result<Option<String>> {
        let Some(picture) = &judged.picture else {
            *if judged.had_picture { &mut self.counts.let_go } else { &mut self.counts.never_kept } += 1;
            return Ok(None);
        };
        let Some((class_id, label)) = &judged.truth else {
            self.counts.no_class += 1;
            return Ok(None);
        };
        let folder = format!("{IMAGES}/{class_id:04}_{}", slug(label));
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
        let Self { lines, with, never_kept, let_go, unreadable, no_class } = self;
        let mut text = format!("{lines} judged predictions, {with} of them with a picture, are in {}\n", out.display());
        let mut reason = |count: usize, why: &str| {
            if count > 0 {
                text.push_str(&format!("{count} without a picture: {why}\n"));
            }
        };
        reason(*never_kept, "it was not kept; --keep-images says which part is");
        reason(*let_go, "it was let go since; see --images-kept-for and --images-kept-bytes");
        reason(*unreadable, "its file is missing or damaged");
        reason(*no_class, "its true class is not known");
        text
    }
}

/// A label as a part of a folder's name: lower case, letters and digits of ASCII, all else one underscore.
fn slug(label: &str) -> String {
    let mut slug = String::new();
    for c in label.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.truncate(SLUG);
    slug.trim_end_matches('_').to_string()
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_safe_names_of_folders() {
        assert_eq!(slug("Egyptian cat"), "egyptian_cat");
        assert_eq!(slug("../../etc/passwd"), "etc_passwd");
        assert_eq!(slug("jack-o'-lantern, Halloween (toy)"), "jack_o_lantern_halloween_toy");
        assert_eq!(slug("Käse"), "k_se");
        assert_eq!(slug("日本"), "");
        assert!(slug(&"long ".repeat(99)).len() <= SLUG);
    }
}
