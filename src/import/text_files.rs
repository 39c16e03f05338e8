//! Text files with one value a line: class names and logits.

use std::path::{Path, PathBuf};

use model_import::import::read_file;

use super::request::LabelSource;

/// Maximum size of such a file in bytes. The 21,841 names of ImageNet take 0.5 MB.
const MAX_BYTES: u64 = 64 << 20;

/// The error of a file of class names or logits.
#[derive(Debug, thiserror::Error)]
pub enum TextFileError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// A line is empty, so its class has no name.
    #[error("line {line} of {} is empty, but each line must name a class", path.display())]
    NoName {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
    },
    /// A name has a control character, which a terminal or a web page would interpret.
    #[error("line {line} of {} has a control character, but each line must name a class", path.display())]
    Control {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
    },
    /// A line is not a finite number.
    #[error("line {line} of {} is not a finite number, but each line must be one logit of the synthetic image", path.display())]
    NoNumber {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
    },
    /// The number of names differs from the number of classes.
    #[error("there are {given} labels, but the network has {needed} classes{}", hint(*given, *needed))]
    Count {
        /// Number of names.
        given: usize,
        /// Number of classes.
        needed: usize,
    },
}

fn hint(given: usize, needed: usize) -> &'static str {
    match (given, needed) {
        (1000, 1001) => {
            ". TensorFlow networks with 1001 classes have 'background' as the first class: add it as the first line of the file"
        }
        _ => "",
    }
}

/// Returns the names of `classes` classes. `imagenet` holds the ImageNet names.
pub(super) fn labels(source: &LabelSource, classes: usize, imagenet: &[&str]) -> Result<Vec<String>, TextFileError> {
    let labels = match source {
        LabelSource::Numbers => (0..classes).map(|class| format!("class_{class}")).collect(),
        LabelSource::ImageNet => imagenet.iter().map(ToString::to_string).collect(),
        LabelSource::File(path) => names(path)?,
    };
    if labels.len() != classes {
        return Err(TextFileError::Count { given: labels.len(), needed: classes });
    }
    Ok(labels)
}

fn names(path: &Path) -> Result<Vec<String>, TextFileError> {
    let text = read(path)?;
    // Empty lines at the end are ignored.
    let names: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
    if let Some(index) = names.iter().position(|name| name.is_empty()) {
        return Err(TextFileError::NoName { path: path.to_path_buf(), line: index + 1 });
    }
    if let Some(index) = names.iter().position(|name| name.chars().any(char::is_control)) {
        return Err(TextFileError::Control { path: path.to_path_buf(), line: index + 1 });
    }
    Ok(names.into_iter().map(ToString::to_string).collect())
}

/// Reads logits, one a line.
///
/// # Errors
///
/// See [`TextFileError`].
pub fn read_logits(path: &Path) -> Result<Vec<f32>, TextFileError> {
    let text = read(path)?;
    let number = |(index, line): (usize, &str)| {
        let number = line.trim().parse().ok().filter(|value: &f32| value.is_finite());
        number.ok_or_else(|| TextFileError::NoNumber { path: path.to_path_buf(), line: index + 1 })
    };
    text.trim_end().lines().enumerate().map(number).collect()
}

fn read(path: &Path) -> Result<String, TextFileError> {
    let unreadable = |reason: String| TextFileError::Unreadable { path: path.to_path_buf(), reason };
    let bytes = read_file(path, MAX_BYTES).map_err(|e| unreadable(e.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|e| unreadable(format!("it is not UTF-8 text: {e}")))?;
    // Some editors write a byte order mark at the start.
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file.into_temp_path()
    }

    #[test]
    fn names_come_from_a_file_or_imagenet_or_are_generated() {
        let path = file("\u{feff}cat\r\n dog \n\n");
        let of = |labels_of: &LabelSource, classes| labels(labels_of, classes, &["tench", "goldfish"]);
        assert_eq!(of(&LabelSource::File(path.to_path_buf()), 2).unwrap(), ["cat", "dog"]);
        assert_eq!(of(&LabelSource::ImageNet, 2).unwrap(), ["tench", "goldfish"]);
        assert_eq!(of(&LabelSource::Numbers, 3).unwrap(), ["class_0", "class_1", "class_2"]);
    }

    #[test]
    fn invalid_line_is_reported_by_its_number() {
        let message = |content: &str| {
            let path = file(content);
            labels(&LabelSource::File(path.to_path_buf()), 2, &[]).unwrap_err().to_string()
        };
        assert!(message("cat\n\ndog").contains("line 2 of"), "{}", message("cat\n\ndog"));
        assert!(message("cat").contains("1 labels, but the network has 2 classes"));
        assert!(
            message("cat\nd\u{1b}[2Jog").contains("line 2 of") && message("c\tat\ndog").contains("control character")
        );
        let path = file("0.5\nhalf\n");
        assert!(read_logits(&path).unwrap_err().to_string().contains("line 2 of"));
        let path = file("\u{feff}0.5\n-1e3\n");
        assert_eq!(read_logits(&path).unwrap(), [0.5, -1000.0]);
        let background = TextFileError::Count { given: 1000, needed: 1001 }.to_string();
        assert!(background.contains("'background'"), "{background}");
    }
}
