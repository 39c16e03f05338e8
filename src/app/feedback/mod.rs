//! `kiln feedback`: exports and reports on recorded feedback. A server may run at the same time.

mod class_folders;
mod dataset;
mod export;
mod report;

use std::path::{Path, PathBuf};

pub use export::{ExportError, export_feedback};
pub use report::{ReportError, report_feedback};

/// Folder of an export that contains one folder per class, or one folder per model that contains those.
const IMAGES: &str = "images";

/// Reports whether `path`, which need not exist, is `folder` or lies in it. The commands never write into the folder
/// that they read: a server may run there, and an export or a report could overwrite its database or its images.
fn is_inside(folder: &Path, path: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    resolved(path).is_some_and(|path| path.starts_with(folder))
}

/// Returns the existing part of a path without symbolic links: the path itself, or its first ancestor that exists.
fn resolved(path: &Path) -> Option<PathBuf> {
    let or_current = |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_path_buf() };
    path.ancestors().find_map(|path| or_current(path).canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_inside_a_folder_under_any_name() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("data");
        std::fs::create_dir_all(data.join("kept-pictures")).unwrap();
        std::fs::create_dir(parent.path().join("database")).unwrap();
        for inside in ["data", "data/", "data/new", "data/new/er", "database/../data/kept-pictures", "./data/x.html"] {
            assert!(is_inside(&data, &parent.path().join(inside)), "{inside}");
        }
        for outside in ["", "new", "database", "data/../new", "data.html"] {
            assert!(!is_inside(&data, &parent.path().join(outside)), "{outside}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&data, parent.path().join("link")).unwrap();
            assert!(is_inside(&data, &parent.path().join("link/new")));
            assert!(is_inside(&parent.path().join("link"), &data));
        }
        assert!(!is_inside(&data, Path::new("new")));
    }
}
