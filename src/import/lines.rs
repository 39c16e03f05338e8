//! Files with one thing a line: names of classes, and logits.

use std::path::{Path, PathBuf};

use model_import::import::read_file;

use super::order::Labels;

/// The most bytes of such a file; ImageNet's 21,841 names take 0.5 MB.
const MOST: u64 = 64 << 20;

/// What is wrong with such a file.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// It cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A class without a name.
    #[error("line {line} of {} is empty, but each line names a class", path.display())]
    NoName {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A name that a terminal or a web page would act on.
    #[error("line {line} of {} has a control character, but each line names a class", path.display())]
    Control {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// No number.
    #[error("line {line} of {} is no finite number, but each line is one logit of the synthetic picture", path.display())]
    NoNumber {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// There are more or fewer names than classes.
    #[error("there are {given} labels, but the network has {needed} classes{}", hint(*given, *needed))]
    Count {
        /// How many there are.
        given: usize,
        /// How many are needed.
        needed: usize,
    },
}

fn hint(given: usize, needed: usize) -> &'static str {
    match (given, needed) {
        (1000, 1001) => {
            ". TensorFlow's networks of 1001 classes have 'background' as the first: write a file that begins with it"
        }
        _ => "",
    }
}

/// The names of `classes` classes. ImageNet's are those of `imagenet`.
pub(super) fn labels(labels: &Labels, classes: usize, imagenet: &[&str]) -> Result<Vec<String>, LinesError> {
    let labels = match labels {
        Labels::Numbers => (0..classes).map(|class| format!("class_{class}")).collect(),
        Labels::ImageNet => imagenet.iter().map(ToString::to_string).collect(),
        Labels::File(path) => names(path)?,
    };
    if labels.len() != classes {
        return Err(LinesError::Count { given: labels.len(), needed: classes });
    }
    Ok(labels)
}

fn names(path: &Path) -> Result<Vec<String>, LinesError> {
    let text = read(path)?;
    // What an editor leaves at the end is no class.
    let names: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
    if let Some(index) = names.iter().position(|name| name.is_empty()) {
        return Err(LinesError::NoName { path: path.to_path_buf(), line: index + 1 });
    }
    if let Some(index) = names.iter().position(|name| name.chars().any(char::is_control)) {
        return Err(LinesError::Control { path: path.to_path_buf(), line: index + 1 });
    }
    Ok(names.into_iter().map(ToString::to_string).collect())
}

/// Logits, one a line.
///
/// # Errors
///
/// See [`LinesError`].
pub fn read_logits(path: &Path) -> Result<Vec<f32>, LinesError> {
    let text = read(path)?;
    let number = |(index, line): (usize, &str)| {
        let number = line.trim().parse().ok().filter(|value: &f32| value.is_finite());
        number.ok_or_else(|| LinesError::NoNumber { path: path.to_path_buf(), line: index + 1 })
    };
    text.trim_end().lines().enumerate().map(number).collect()
}

fn read(path: &Path) -> Result<String, LinesError> {
    let unreadable = |reason: String| LinesError::Unreadable { path: path.to_path_buf(), reason };
    let bytes = read_file(path, MOST).map_err(|e| unreadable(e.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|e| unreadable(format!("it is no text in UTF-8: {e}")))?;
    // Some editors begin a file with a mark of its byte order.
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
    fn names_come_from_a_file_from_imagenet_or_are_numbers() {
        let path = file("\u{feff}cat\r\n dog \n\n");
        let of = |labels_of: &Labels, classes| labels(labels_of, classes, &["tench", "goldfish"]);
        assert_eq!(of(&Labels::File(path.to_path_buf()), 2).unwrap(), ["cat", "dog"]);
        assert_eq!(of(&Labels::ImageNet, 2).unwrap(), ["tench", "goldfish"]);
        assert_eq!(of(&Labels::Numbers, 3).unwrap(), ["class_0", "class_1", "class_2"]);
    }

    #[test]
    fn wrong_files_are_told_by_line() {
        let told = |content: &str| {
            let path = file(content);
            labels(&Labels::File(path.to_path_buf()), 2, &[]).unwrap_err().to_string()
        };
        assert!(told("cat\n\ndog").contains("line 2 of"), "{}", told("cat\n\ndog"));
        assert!(told("cat").contains("1 labels, but the network has 2 classes"));
        assert!(told("cat\nd\u{1b}[2Jog").contains("line 2 of") && told("c\tat\ndog").contains("control character"));
        let path = file("0.5\nhalf\n");
        assert!(read_logits(&path).unwrap_err().to_string().contains("line 2 of"));
        let path = file("\u{feff}0.5\n-1e3\n");
        assert_eq!(read_logits(&path).unwrap(), [0.5, -1000.0]);
        let background = LinesError::Count { given: 1000, needed: 1001 }.to_string();
        assert!(background.contains("'background'"), "{background}");
    }
}
