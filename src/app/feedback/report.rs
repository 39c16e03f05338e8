//! `kiln feedback report`: a page with plots.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::outside::is_inside;
use kiln_feedback::{ModelFeedback, OpenError, ReadError, Reader, report_page};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// What was recorded.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The same.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The page would take the place of what it is made of.
    #[error("{file} lies in the folder of --data-dir. Name a file elsewhere.", file = .0.display())]
    Overlaps(PathBuf),
    /// The page.
    #[error("cannot write {path}: {error}", path = path.display())]
    Output {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Writes the page about all models to `out`, and gives back what there is to tell.
///
/// # Errors
///
/// See [`ReportError`].
pub fn report(data: &Path, out: &Path) -> Result<String, ReportError> {
    if is_inside(data, out) {
        return Err(ReportError::Overlaps(out.to_path_buf()));
    }
    let reader = Reader::open(data)?;
    let mut models = Vec::new();
    for model in reader.models(None)? {
        let mut judged = Vec::new();
        reader.for_each_labelled(&model, |one| {
            judged.push(one);
            Ok(())
        })?;
        let confidence_histogram = reader.confidence_histogram(&model)?;
        models.push(ModelFeedback { model, labelled: judged, confidence_histogram });
    }
    let created = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let written = write(out, report_page(&created, &models).as_bytes());
    written.map_err(|error| ReportError::Output { path: out.to_path_buf(), error })?;
    let judged: usize = models.iter().map(|model| model.labelled.len()).sum();
    Ok(format!("{judged} judged predictions are shown in {}\n", out.display()))
}

/// All of it or nothing: an older page stays until there is a new one. What is no file, as `/dev/stdout`, is written to.
fn write(out: &Path, page: &[u8]) -> io::Result<()> {
    if out.metadata().is_ok_and(|there| !there.is_file()) {
        return std::fs::write(out, page);
    }
    // A link leads there still.
    let out = out.canonicalize().unwrap_or_else(|_| out.to_path_buf());
    let mut partial = out.as_os_str().to_owned();
    partial.push(format!(".{}.part", std::process::id()));
    let written = std::fs::write(&partial, page).and_then(|()| std::fs::rename(&partial, &out));
    if written.is_err() {
        // The disk is full perhaps.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_the_place_of_an_older_one_and_of_nothing_that_a_server_keeps() {
        let data = tempfile::tempdir().unwrap();
        let database = data.path().join("feedback.db");
        std::fs::write(&database, "a database").unwrap();
        let refused = report(data.path(), &database);
        assert!(matches!(refused, Err(ReportError::Overlaps(_))), "{refused:?}");
        assert_eq!(std::fs::read(&database).unwrap(), b"a database");
        let out = tempfile::tempdir().unwrap();
        let page = out.path().join("report.html");
        for text in ["first", "second"] {
            write(&page, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&page).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
        // Who has the older one open reads on in it.
        #[cfg(unix)]
        {
            let link = out.path().join("link.html");
            std::fs::hard_link(&page, &link).unwrap();
            write(&page, b"third").unwrap();
            assert_eq!(std::fs::read_to_string(link).unwrap(), "second");
        }
        assert!(write(&out.path().join("nowhere/report.html"), b"page").is_err());
    }
}
