//! `kiln feedback report`: writes an HTML report with charts.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kiln_feedback::{ModelFeedback, OpenError, ReadError, Reader, report_page};

use super::is_inside;

/// The error of [`report_feedback`].
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The recorded predictions cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The recorded predictions cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The report would overwrite the recorded data.
    #[error("{file} lies in the folder of --data-dir; name a file outside of it", file = .0.display())]
    Overlaps(PathBuf),
    /// The report cannot be written.
    #[error("cannot write {path}: {error}", path = path.display())]
    Output {
        /// The file of the report.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
}

/// Writes the report on all models to the file `out`. Returns a summary.
///
/// # Errors
///
/// See [`ReportError`].
pub fn report_feedback(data: &Path, out: &Path) -> Result<String, ReportError> {
    if is_inside(data, out) {
        return Err(ReportError::Overlaps(out.to_path_buf()));
    }
    let reader = Reader::open(data)?;
    let mut models = Vec::new();
    for model in reader.models(None)? {
        let mut labelled = Vec::new();
        reader.for_each_labelled(&model, |one| {
            labelled.push(one);
            Ok(())
        })?;
        let confidence_histogram = reader.confidence_histogram(&model)?;
        models.push(ModelFeedback { model, labelled, confidence_histogram });
    }
    let created = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let written = write_atomically(out, report_page(&created, &models).as_bytes());
    written.map_err(|error| ReportError::Output { path: out.to_path_buf(), error })?;
    let labelled: usize = models.iter().map(|model| model.labelled.len()).sum();
    Ok(format!("{labelled} labelled predictions are shown in {}\n", out.display()))
}

/// Writes the file through a temporary file, so that an earlier report stays until the new one is complete. Writes
/// directly to a path that is not a regular file, such as `/dev/stdout`.
fn write_atomically(out: &Path, page: &[u8]) -> io::Result<()> {
    if out.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return std::fs::write(out, page);
    }
    // Replaces the target of a symbolic link, not the link.
    let out = out.canonicalize().unwrap_or_else(|_| out.to_path_buf());
    let mut partial = out.as_os_str().to_owned();
    partial.push(format!(".{}.part", std::process::id()));
    let written = std::fs::write(&partial, page).and_then(|()| std::fs::rename(&partial, &out));
    if written.is_err() {
        // Frees the space on a full disk.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_replaces_an_earlier_report_and_no_data_of_a_server() {
        let data = tempfile::tempdir().unwrap();
        let database = data.path().join("feedback.db");
        std::fs::write(&database, "a database").unwrap();
        let refused = report_feedback(data.path(), &database);
        assert!(matches!(refused, Err(ReportError::Overlaps(_))), "{refused:?}");
        assert_eq!(std::fs::read(&database).unwrap(), b"a database");
        let out = tempfile::tempdir().unwrap();
        let page = out.path().join("report.html");
        for text in ["first", "second"] {
            write_atomically(&page, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&page).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
        // An open earlier report keeps its content.
        #[cfg(unix)]
        {
            let link = out.path().join("link.html");
            std::fs::hard_link(&page, &link).unwrap();
            write_atomically(&page, b"third").unwrap();
            assert_eq!(std::fs::read_to_string(link).unwrap(), "second");
        }
        assert!(write_atomically(&out.path().join("nowhere/report.html"), b"page").is_err());
    }
}
