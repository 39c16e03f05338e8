//! Reads the folder that `kiln feedback export` writes: `feedback.jsonl` with one JSON object per line, and the image files that
//! it names.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::error::FinetuneError;

/// Maximum length of a line in bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// An image file with its true class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Index of the true class.
    pub class: usize,
}

/// The labelled images of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedbackExport {
    /// Each file once, in the order of the last line that names it. Several files may have the same content.
    pub files: Vec<LabelledFile>,
    /// Counts of the other lines.
    pub skipped: SkippedLines,
}

/// Counts of the lines that are not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkippedLines {
    /// The true class is unknown.
    pub unlabelled: usize,
    /// The image is not stored.
    pub without_image: usize,
    /// The prediction is of another model, which has other classes.
    pub other_model: usize,
    /// A later line gives the same file another class.
    pub contradicted: usize,
}

impl fmt::Display for SkippedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.unlabelled, "without a true class"),
            (self.without_image, "without an image"),
            (self.other_model, "of other models"),
            (self.contradicted, "replaced by a later line for the same file"),
        ];
        let texts: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        f.write_str(if texts.is_empty() { "none" } else { "" })?;
        f.write_str(&texts.join(", "))
    }
}

/// Reads the labelled images in `folder` for the model `name`, which has `classes` classes.
///
/// # Errors
///
/// The folder is not an export, a line is invalid, or there are no labelled images.
pub fn read_export(folder: &Path, name: &str, classes: usize) -> Result<FeedbackExport, FinetuneError> {
    let path = folder.join("feedback.jsonl");
    let unreadable = |e: std::io::Error| FinetuneError::Unreadable { path: path.clone(), reason: e.to_string() };
    // Opening a pipe without a writer would block.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("not a regular file")));
    }
    let mut lines = BufReader::new(File::open(&path).map_err(unreadable)?);
    let mut export = FeedbackExport::default();
    let mut named = HashMap::new();
    for number in 1.. {
        let mut line = Vec::new();
        if lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        // Some editors begin a file with a byte order mark.
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if number == 1 => rest,
            _ => &line[..],
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        let invalid = |reason: String| FinetuneError::Line { path: path.clone(), line: number, reason };
        let row: Value = serde_json::from_slice(line).map_err(|e| invalid(e.to_string()))?;
        let Some((image, class)) = labelled_image(&row, name, classes, &mut export.skipped).map_err(invalid)? else {
            continue;
        };
        let earlier = named.insert(image, (number, class));
        export.skipped.contradicted += usize::from(earlier.is_some_and(|(_, earlier)| earlier != class));
    }
    let mut named: Vec<_> = named.into_iter().collect();
    named.sort_unstable_by_key(|(_, (line, _))| *line);
    let files = named.into_iter().map(|(image, (_, class))| LabelledFile { path: folder.join(image), class });
    export.files = files.collect();
    if export.files.is_empty() {
        return Err(FinetuneError::NoImages(format!("lines skipped: {}", export.skipped)));
    }
    Ok(export)
}

/// Returns the image of a line, as a path inside the folder, and its true class. If the line has not both, counts it as skipped
/// and returns nothing.
fn labelled_image(
    row: &Value,
    name: &str,
    classes: usize,
    skipped: &mut SkippedLines,
) -> Result<Option<(PathBuf, usize)>, String> {
    if row.get("model").and_then(Value::as_str) != Some(name) {
        skipped.other_model += 1;
        return Ok(None);
    }
    let class = match row.get("true_id") {
        None | Some(Value::Null) => {
            skipped.unlabelled += 1;
            return Ok(None);
        }
        Some(id) => id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|id| *id < classes),
    };
    let class = class.ok_or_else(|| format!("'true_id' must be a class of '{name}', from 0 to {}", classes - 1))?;
    let image = match row.get("image") {
        None | Some(Value::Null) => {
            skipped.without_image += 1;
            return Ok(None);
        }
        Some(image) => image.as_str().map(PathBuf::from).ok_or("'image' must be a path")?,
    };
    // The export contains only files inside its folder.
    if !image.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("'image' must be a path inside the folder".to_string());
    }
    Ok(Some((image, class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_lines(lines: &str) -> (tempfile::TempDir, Result<FeedbackExport, FinetuneError>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("feedback.jsonl"), lines).unwrap();
        let export = read_export(folder.path(), "net", 10);
        (folder, export)
    }

    #[test]
    fn labelled_lines_are_read_and_skipped_lines_are_counted() {
        let (folder, export) = read_lines(
            "{\"image\": \"images/0003_cat/a.jpg\", \"true_id\": 3, \"predicted_id\": 5, \"model\": \"net\"}\n\n\
             {\"image\": \"images/b.jpg\", \"true_id\": null, \"predicted_id\": 5, \"model\": \"net\"}\n\
             {\"image\": null, \"true_id\": 1, \"predicted_id\": 5, \"model\": \"net\"}\n\
             {\"image\": \"images/c.jpg\", \"true_id\": 99, \"predicted_id\": 5, \"model\": \"other\"}\n\
             {\"image\": \"images/d.jpg\", \"true_id\": 4, \"predicted_id\": 5, \"model\": \"net\"}\n\
             {\"image\": \"images/0007_dog/a.jpg\", \"true_id\": 7, \"predicted_id\": 5, \"model\": \"net\"}\n\
             {\"image\": \"images/d.jpg\", \"true_id\": 6, \"predicted_id\": 5, \"model\": \"net\"}\n",
        );
        let export = export.unwrap();
        let file = |name: &str, class| LabelledFile { path: folder.path().join(name), class };
        // The same name in two folders is two files. A file has the class of its last line.
        let expected = [file("images/0003_cat/a.jpg", 3), file("images/0007_dog/a.jpg", 7), file("images/d.jpg", 6)];
        assert_eq!(export.files, expected);
        assert_eq!(export.skipped, SkippedLines { unlabelled: 1, without_image: 1, other_model: 1, contradicted: 1 });
        assert!(export.skipped.to_string().starts_with("1 without a true class, 1 without an image"));
    }

    #[test]
    fn invalid_line_is_reported_by_number() {
        for (lines, part) in [
            ("{}\nnonsense\n", "line 2 of"),
            ("{\"image\": \"a.jpg\", \"true_id\": 10, \"model\": \"net\"}", "from 0 to 9"),
            ("{\"image\": \"a.jpg\", \"true_id\": \"cat\", \"model\": \"net\"}", "from 0 to 9"),
            ("{\"image\": \"../../etc/passwd\", \"true_id\": 1, \"model\": \"net\"}", "inside the folder"),
            ("{\"image\": \"/etc/passwd\", \"true_id\": 1, \"model\": \"net\"}", "inside the folder"),
            ("", "no image has a true class"),
        ] {
            let refused = read_lines(lines).1.unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
        let missing = read_export(Path::new("/no/such/folder"), "net", 10).unwrap_err().to_string();
        assert!(missing.contains("kiln feedback export"), "{missing}");
    }
}
