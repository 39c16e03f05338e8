//! `kiln feedback export`: feedback as JSON lines, and pictures in folders by their true class, as `ImageFolder` of torchvision
//! and its like read them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::feedback::{Counted, Judged, OpenError, ReadError, Reader};

/// The file with a line for each judged prediction. It is there once everything else is.
const LINES: &str = "feedback.jsonl";
/// Its name until then.
const PARTIAL: &str = "feedback.jsonl.part";
/// The folder with a folder for each class.
const IMAGES: &str = "images";
/// The most characters of a label in a folder's name.
const SLUG: usize = 40;

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
    let mut export =
        Export { data, out, lines: BufWriter::new(file), written: BTreeSet::new(), counts: Counts::default() };
    let bar = progress_bar(models.iter().map(|model| model.judged).sum());
    for model in &models {
        let each = reader.each(model, |judged| {
            bar.inc(1);
            export.line(model, &judged)
        });
        each.map_err(|error| match error {
            ReadError::Use(error) => output(out, error),
            error => error.into(),
        })?;
    }
    bar.finish_and_clear();
    export.lines.flush().map_err(|error| output(&partial, error))?;
    let counts = export.counts;
    // An older one gives way.
    std::fs::rename(&partial, out.join(LINES)).map_err(|error| output(&partial, error))?;
    Ok(counts.told(out))
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

struct Export<'a> {
    data: &'a Path,
    out: &'a Path,
    lines: BufWriter<File>,
    /// Pictures that are there, for one may be judged several times.
    written: BTreeSet<String>,
    counts: Counts,
}

impl Export<'_> {
    fn line(&mut self, model: &Counted, judged: &Judged) -> io::Result<()> {
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

fn progress_bar(lines: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} judged predictions, {per_sec}, {eta} left");
    ProgressBar::new(lines as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
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
