//! What `kiln feedback export` wrote: `feedback.jsonl`, an object a line, and the pictures that it names.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::FinetuneError;

/// The most bytes of one line.
const MOST_LINE_BYTES: u64 = 1 << 20;

/// A picture whose right class somebody has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrected {
    /// The file.
    pub path: PathBuf,
    /// Its right class.
    pub class: usize,
}

/// All that can be learnt from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Each file once, in the order of the lines that last named them. Several may show the same picture.
    pub pictures: Vec<Corrected>,
    /// What else there was.
    pub skipped: Skipped,
}

/// Lines that nothing was learnt from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Nobody has told the right class.
    pub unlabelled: usize,
    /// The picture was not kept.
    pub without_picture: usize,
    /// Another model answered, whose classes are others.
    pub other_model: usize,
    /// The same file had been named with another class; the last one counts.
    pub contradicted: usize,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.unlabelled, "without a right class"),
            (self.without_picture, "without a picture"),
            (self.other_model, "of other models"),
            (self.contradicted, "contradicted by a later line for the same file, which counts"),
        ];
        let told: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        f.write_str(if told.is_empty() { "none" } else { "" })?;
        f.write_str(&told.join(", "))
    }
}

/// The pictures in `folder` that correct the model `name`, which has `classes` classes.
///
/// # Errors
///
/// It is no such folder, or there is nothing to learn from.
pub fn read(folder: &Path, name: &str, classes: usize) -> Result<Feedback, FinetuneError> {
    let path = folder.join("feedback.jsonl");
    let unreadable = |e: std::io::Error| FinetuneError::Unreadable { path: path.clone(), reason: e.to_string() };
    // A pipe that nobody writes to would be waited for.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is no regular file")));
    }
    let mut lines = BufReader::new(File::open(&path).map_err(unreadable)?);
    let mut feedback = Feedback::default();
    let mut named = HashMap::new();
    for number in 1.. {
        let mut line = Vec::new();
        if lines.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        // Some editors begin a file with a mark of its byte order.
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if number == 1 => rest,
            _ => &line[..],
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |reason: String| FinetuneError::Line { path: path.clone(), line: number, reason };
        let row: Value = serde_json::from_slice(line).map_err(|e| wrong(e.to_string()))?;
        let Some((image, class)) = labelled(&row, name, classes, &mut feedback.skipped).map_err(wrong)? else {
            continue;
        };
        let earlier = named.insert(image, (number, class));
        feedback.skipped.contradicted += usize::from(earlier.is_some_and(|(_, earlier)| earlier != class));
    }
    let mut named: Vec<_> = named.into_iter().collect();
    named.sort_unstable_by_key(|(_, (line, _))| *line);
    let pictures = named.into_iter().map(|(image, (_, class))| Corrected { path: folder.join(image), class });
    feedback.pictures = pictures.collect();
    if feedback.pictures.is_empty() {
        return Err(FinetuneError::NoPictures(format!("lines skipped: {}", feedback.skipped)));
    }
    Ok(feedback)
}

/// The picture of a line, inside the folder, and its class; nothing if it has not both.
fn labelled(
    row: &Value,
    name: &str,
    classes: usize,
    skipped: &mut Skipped,
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
            skipped.without_picture += 1;
            return Ok(None);
        }
        Some(image) => image.as_str().map(PathBuf::from).ok_or("'image' must be a path")?,
    };
    // Files elsewhere are none of the export's.
    if !image.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("'image' must be a path inside the folder".to_string());
    }
    Ok(Some((image, class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(lines: &str) -> (tempfile::TempDir, Result<Feedback, FinetuneError>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("feedback.jsonl"), lines).unwrap();
        let feedback = read(folder.path(), "net", 10);
        (folder, feedback)
    }

    #[test]
    fn lines_become_pictures_and_what_is_skipped_is_counted() {
        let (folder, feedback) = export(
            "{\"image\": \"images/0003_cat/a.jpg\", \"true_id\": 3, \"predicted_id\": 5, \"model\": \"net\"}\n\n\
             {\"image\": \"images/b.jpg\", \"true_id\": null, \"predicted_id\": 5, \"model\": \"net\"}\n\
             {\"image\": null, \"true_id\": 1, \"predicted_id\": 5, \"model\": \"net\"}\n\
             {\"image\": \"images/c.jpg\", \"true_id\": 99, \"predicted_id\": 5, \"model\": \"other\"}\n\
             {\"image\": \"images/d.jpg\", \"true_id\": 4, \"predicted_id\": 5, \"model\": \"net\"}\n\
             {\"image\": \"images/0007_dog/a.jpg\", \"true_id\": 7, \"predicted_id\": 5, \"model\": \"net\"}\n\
             {\"image\": \"images/d.jpg\", \"true_id\": 6, \"predicted_id\": 5, \"model\": \"net\"}\n",
        );
        let feedback = feedback.unwrap();
        let picture = |name: &str, class| Corrected { path: folder.path().join(name), class };
        // One name in two folders is two files, and one file has the class of its last line.
        let expected =
            [picture("images/0003_cat/a.jpg", 3), picture("images/0007_dog/a.jpg", 7), picture("images/d.jpg", 6)];
        assert_eq!(feedback.pictures, expected);
        assert_eq!(feedback.skipped, Skipped { unlabelled: 1, without_picture: 1, other_model: 1, contradicted: 1 });
        assert!(feedback.skipped.to_string().starts_with("1 without a right class, 1 without a picture"));
    }

    #[test]
    fn what_is_no_export_is_told_by_line() {
        for (lines, part) in [
            ("{}\nnonsense\n", "line 2 of"),
            ("{\"image\": \"a.jpg\", \"true_id\": 10, \"model\": \"net\"}", "from 0 to 9"),
            ("{\"image\": \"a.jpg\", \"true_id\": \"cat\", \"model\": \"net\"}", "from 0 to 9"),
            ("{\"image\": \"../../etc/passwd\", \"true_id\": 1, \"model\": \"net\"}", "inside the folder"),
            ("{\"image\": \"/etc/passwd\", \"true_id\": 1, \"model\": \"net\"}", "inside the folder"),
            ("", "no picture has a right class"),
        ] {
            let refused = export(lines).1.unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
        let nowhere = read(Path::new("/no/such/folder"), "net", 10).unwrap_err().to_string();
        assert!(nowhere.contains("kiln feedback export"), "{nowhere}");
    }
}
