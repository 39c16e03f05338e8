//! The request of `kiln predict`: its arguments as plain data.

use std::path::{Path, PathBuf};

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// The arguments of `kiln predict`.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictRequest {
    /// Image files, folders, and [`STDIN`].
    pub paths: Vec<PathBuf>,
    /// Whether subfolders are searched too.
    pub recursive: bool,
    /// Number of classes for each image. If absent, it is the model's default.
    pub top_k: Option<usize>,
    /// Minimum probability of a class. If absent, it is the model's default.
    pub threshold: Option<f32>,
    /// Where the answers go.
    pub output: Output,
}

/// Where the answers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output, as text.
    Text,
    /// Standard output, as one JSON object per line.
    JsonLines,
    /// A results file.
    File(ResultsFile),
}

/// A file with one row per image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultsFile {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: ResultsFormat,
    /// What happens if the file exists.
    pub existing: Existing,
}

impl ResultsFile {
    /// Returns the file that gets a row when the result of an image is known. A Parquet file is converted from it at the end.
    pub fn rows_path(&self) -> PathBuf {
        match self.format {
            ResultsFormat::Csv | ResultsFormat::JsonLines => self.path.clone(),
            ResultsFormat::Parquet => self.path.with_extension("jsonl"),
        }
    }
}

/// What happens if the results file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The command fails.
    Refuse,
    /// The command classifies the files without a row and appends their rows.
    Resume,
    /// The command replaces the file.
    Overwrite,
}

/// The format of a results file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultsFormat {
    /// Comma-separated values (RFC 4180, but with line feeds as line ends).
    Csv,
    /// One JSON object per line.
    JsonLines,
    /// Apache Parquet with the columns of CSV, or `embedding`.
    Parquet,
}

impl ResultsFormat {
    /// Returns the format that the extension of a file names.
    ///
    /// # Errors
    ///
    /// The extension names no format. The error states the next step.
    pub fn of(path: &Path) -> Result<Self, String> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err("the name of the results file must end in .csv, .jsonl or .parquet. (The output of the network has the \
                      flag --model-output here.)"
                .to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extension_names_the_format() {
        let format = |name: &str| ResultsFormat::of(Path::new(name));
        assert_eq!(format("a/b.csv"), Ok(ResultsFormat::Csv));
        assert_eq!(format("B.CSV"), Ok(ResultsFormat::Csv));
        assert_eq!(format("b.tar.jsonl"), Ok(ResultsFormat::JsonLines));
        assert_eq!(format("b.parquet"), Ok(ResultsFormat::Parquet));
        for other in ["logits", "b.txt", ".csv", ""] {
            let reason = format(other).unwrap_err();
            assert!(
                reason.contains(".csv, .jsonl or .parquet") && reason.contains("--model-output"),
                "{other}: {reason}"
            );
        }
    }
}
