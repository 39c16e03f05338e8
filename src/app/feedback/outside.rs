//! Where the commands write: never into the folder that they read. A server may run there, and its pictures and its database
//! have names that an export or a page would take the place of.

use std::path::{Path, PathBuf};

/// Whether `path`, which need not be there yet, lies in `folder` or is it.
pub(super) fn is_inside(folder: &Path, path: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    resolved(path).is_some_and(|path| path.starts_with(folder))
}

/// What there is of a path, without links: the path itself, or the first folder above it.
fn resolved(path: &Path) -> Option<PathBuf> {
    let here = |path: &Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_path_buf() };
    path.ancestors().find_map(|path| here(path).canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_inside_by_whatever_name_it_is_called() {
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
