//! The folders that a server writes to: whether they exist, are writable and have free space.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use model_import::import::shell_path;
use walkdir::WalkDir;

use super::super::load;
use super::finding::Finding;
use crate::config::Config;

/// Less free space than this is reported.
const MIN_FREE: u64 = 256 << 20;

/// A folder that a server writes to.
#[derive(Clone, Copy, Debug)]
struct Folder<'a> {
    check: &'static str,
    /// The setting that names it.
    flag: &'static str,
    path: &'a Path,
    /// Whether a server creates it if it does not exist.
    is_created: bool,
    /// Whether a server does not start without it.
    is_required: bool,
    /// Space that it should have, in bytes.
    needed: u64,
}

/// Checks the configured folders.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![match &config.inference.cache {
        Some(path) => {
            let (check, flag) = ("cache folder", "cache-dir");
            Folder { check, flag, path, is_created: true, is_required: false, needed: MIN_FREE }.finding()
        }
        None => Finding::warning("cache folder", "none: each start compiles all kernels again", "--cache-dir FOLDER"),
    }];
    if let Ok(store) = load::store(config) {
        findings.push(match load::empty_store(&store) {
            Some(empty) => Finding::warning("model store", empty.reason, empty.next),
            None => Finding::ok("model store", store.folder().display().to_string()),
        });
    }
    if let Some(feedback) = &config.feedback {
        let (path, needed) = (feedback.data_dir.as_path(), images_to_come(feedback).saturating_add(MIN_FREE));
        let folder = Folder { check: "feedback", flag: "data-dir", path, is_created: true, is_required: true, needed };
        findings.push(folder.finding());
    }
    if let Some(file) = &config.logging.file {
        let path = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (check, flag) = ("log file", "log-file");
        let folder = Folder { check, flag, path, is_created: false, is_required: true, needed: MIN_FREE };
        findings.push(folder.finding());
    }
    findings
}

/// Returns the space that further images may take, in bytes.
fn images_to_come(feedback: &kiln_feedback::Config) -> u64 {
    if feedback.image_sample_percent.fraction() == 0.0 {
        return 0;
    }
    let stored = WalkDir::new(feedback.data_dir.join(kiln_feedback::IMAGE_FOLDER)).into_iter().filter_map(Result::ok);
    let bytes = stored.filter_map(|entry| entry.metadata().ok()).filter(Metadata::is_file).map(|file| file.len());
    feedback.image_retention_bytes.saturating_sub(bytes.sum())
}

impl Folder<'_> {
    fn finding(self) -> Finding {
        let Self { check, flag, path, is_created, .. } = self;
        let (shown, quoted) = (path.display(), shell_path(path));
        let existing = existing(path);
        let exists = existing == path;
        if !exists && !is_created {
            return self.failure(format!("there is no folder {shown}"), creation(flag, &quoted));
        }
        if !existing.is_dir() {
            let detail = format!("{} is not a folder", existing.display());
            return self.failure(detail, format!("--{flag} with the path of a folder"));
        }
        if let Err(error) = probe(&existing) {
            let detail = format!("{} is not writable: {error}", existing.display());
            return self.failure(detail, unwritable_fix(error.kind(), exists, flag, &quoted));
        }
        let free = free_space(&existing);
        let detail = match (exists, free) {
            (true, Some(free)) => format!("{shown} is writable, {} free", ByteSize(free)),
            (true, None) => format!("{shown} is writable"),
            (false, Some(free)) => format!("{shown} will be created, {} free", ByteSize(free)),
            (false, None) => format!("{shown} will be created"),
        };
        match free {
            Some(free) if free < self.needed => Finding::warning(
                check,
                format!("{detail}; {} should be", ByteSize(self.needed)),
                format!("free space there, or --{flag} on another file system"),
            ),
            _ => Finding::ok(check, detail),
        }
    }

    fn failure(self, detail: String, fix: String) -> Finding {
        match self.is_required {
            true => Finding::problem(self.check, detail, fix),
            false => Finding::warning(self.check, detail, fix),
        }
    }
}

/// Returns the command that creates a folder for the user of the server.
fn creation(flag: &str, quoted: &str) -> String {
    format!("sudo install -d -o \"$(id -un)\" {quoted}, or --{flag} elsewhere")
}

/// Returns the fix for a folder that cannot be written. If it exists, it may be a folder of the system, which must keep its owner.
fn unwritable_fix(error: ErrorKind, exists: bool, flag: &str, quoted: &str) -> String {
    match (error, exists) {
        (ErrorKind::PermissionDenied, false) => creation(flag, quoted),
        (ErrorKind::PermissionDenied, true) => format!("--{flag} in a folder that this user may write"),
        _ => format!("--{flag} on a writable file system"),
    }
}

/// Returns the path, or the folder above it that exists.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|ancestor| ancestor.exists());
    found.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Creates and deletes a file. Permissions alone do not tell whether a file system is writable.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".kiln-doctor-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)
}

/// Returns the space that this user may still use, in bytes.
#[cfg(unix)]
fn free_space(folder: &Path) -> Option<u64> {
    let statistics = rustix::fs::statvfs(folder).ok()?;
    Some(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::config::Sources;

    fn folder(path: &Path) -> Folder<'_> {
        Folder { check: "log file", flag: "log-file", path, is_created: false, is_required: true, needed: 0 }
    }

    #[test]
    fn writable_folder_is_ok_and_stays_empty() {
        let directory = tempfile::tempdir().unwrap();
        let finding = folder(directory.path()).finding();
        assert_eq!(finding.state, State::Ok, "{finding:?}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let full = Folder { needed: u64::MAX, ..folder(directory.path()) }.finding();
        assert_eq!(full.state, if cfg!(unix) { State::Warning } else { State::Ok }, "{full:?}");
    }

    #[test]
    fn absent_folder_is_a_problem_unless_the_server_creates_it() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("a b");
        let finding = folder(&absent).finding();
        let fix = format!("sudo install -d -o \"$(id -un)\" '{}', or --log-file elsewhere", absent.display());
        assert_eq!((finding.state, finding.fix), (State::Problem, Some(fix)));
        let created = Folder { is_created: true, ..folder(&absent) }.finding();
        assert!(created.state == State::Ok && created.detail.contains("will be created"), "{created:?}");
        assert!(!absent.exists());
    }

    #[test]
    fn stored_images_need_no_further_space() {
        let directory = tempfile::tempdir().unwrap();
        let images = directory.path().join(kiln_feedback::IMAGE_FOLDER).join("a1");
        std::fs::create_dir_all(&images).unwrap();
        std::fs::write(images.join("image.jpg"), [0; 30]).unwrap();
        let data_dir = directory.path().to_str().unwrap();
        let to_come = |percent: &str| {
            let flags = [("data-dir", data_dir), ("image-sample-percent", percent), ("image-retention-bytes", "100")];
            let flags = flags.into_iter().map(|(key, value)| (key, value.to_string())).collect();
            let sources = Sources::gather(&flags, &|_: &str| None, None).unwrap();
            images_to_come(&Config::from_sources(&sources).unwrap().feedback.unwrap())
        };
        assert_eq!((to_come("50"), to_come("0")), (70, 0));
    }

    #[test]
    fn no_fix_changes_the_owner_of_a_folder_that_exists() {
        let fix = |error, exists| unwritable_fix(error, exists, "data-dir", "/var/lib");
        let denied = ErrorKind::PermissionDenied;
        assert_eq!(fix(denied, true), "--data-dir in a folder that this user may write");
        assert!(fix(denied, false).starts_with("sudo install -d "), "{}", fix(denied, false));
        for error in [ErrorKind::ReadOnlyFilesystem, ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            assert_eq!(fix(error, true), "--data-dir on a writable file system");
            assert_eq!(fix(error, false), "--data-dir on a writable file system");
        }
    }

    #[test]
    fn file_in_place_of_a_folder_is_a_problem_or_a_warning_if_the_folder_is_optional() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let finding = folder(file.path()).finding();
        assert!(finding.state == State::Problem && finding.detail.ends_with("is not a folder"), "{finding:?}");
        let optional = Folder { is_required: false, ..folder(file.path()) };
        assert_eq!(optional.finding().state, State::Warning);
    }
}
