//! Lists the files that `kiln predict` classifies, one at a time, so that the number of files does not matter.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::iter;
use std::path::{Path, PathBuf};

use kiln_image::Format;
use walkdir::WalkDir;

use super::request::STDIN;

/// An image to classify.
#[derive(Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// The name in the results: the path as given; below a folder, the path relative to that folder.
    pub name: String,
    /// Where the image is, or why it cannot be listed.
    pub source: Result<ImageSource, String>,
}

/// Where an image is.
#[derive(Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// Standard input.
    Stdin,
    /// A file.
    Path(PathBuf),
}

/// The paths of a request.
#[derive(Clone, Debug)]
pub struct ImageFiles {
    /// Image files, folders, and [`STDIN`].
    pub paths: Vec<PathBuf>,
    /// Whether subfolders are searched too.
    pub recursive: bool,
}

impl ImageFiles {
    /// Lists the images in the order of the paths; in a folder by name. Blocks while it reads folders.
    ///
    /// A file is listed if a path names it, or if it has the extension of an image format and is in a folder that a path names.
    /// Hidden files and folders within a folder are skipped. Links are followed, except to a folder that contains them. A
    /// folder that cannot be read is listed with the reason.
    pub fn walk(&self) -> impl Iterator<Item = ImageFile> + '_ {
        self.paths.iter().flat_map(move |path| self.images_at(path))
    }

    fn images_at<'a>(&'a self, path: &'a Path) -> Box<dyn Iterator<Item = ImageFile> + 'a> {
        if path.as_os_str() == STDIN {
            return Box::new(iter::once(ImageFile { name: STDIN.to_string(), source: Ok(ImageSource::Stdin) }));
        }
        if !path.is_dir() {
            let source = Ok(ImageSource::Path(path.to_path_buf()));
            return Box::new(iter::once(ImageFile { name: path.display().to_string(), source }));
        }
        let max_depth = if self.recursive { usize::MAX } else { 1 };
        let walk = WalkDir::new(path).min_depth(1).max_depth(max_depth).follow_links(true).sort_by_file_name();
        let visible = walk.into_iter().filter_entry(|entry| !is_hidden(entry.file_name()));
        Box::new(visible.filter_map(move |entry| match entry {
            Ok(entry) if entry.file_type().is_dir() || !has_image_extension(entry.path()) => None,
            Ok(entry) => {
                let name = self.name(path, entry.path());
                Some(ImageFile { name, source: Ok(ImageSource::Path(entry.into_path())) })
            }
            Err(error) => self.unreadable(path, &error),
        }))
    }

    /// Returns the name of a file below a folder. Several paths may contain the same relative name, so with several paths the
    /// name begins with the folder.
    fn name(&self, folder: &Path, file: &Path) -> String {
        let relative = file.strip_prefix(folder).ok().filter(|relative| !relative.as_os_str().is_empty());
        relative.filter(|_| self.paths.len() == 1).unwrap_or(file).display().to_string()
    }

    /// Returns the entry of a path below a folder that cannot be read, unless nobody expects an image there.
    fn unreadable(&self, folder: &Path, error: &walkdir::Error) -> Option<ImageFile> {
        let path = error.path().unwrap_or(folder);
        let is_missing = error.io_error().is_some_and(|reason| reason.kind() == ErrorKind::NotFound);
        let is_irrelevant = error.loop_ancestor().is_some()
            || path != folder && path.file_name().is_some_and(is_hidden)
            // A link to nothing.
            || is_missing && !has_image_extension(path);
        let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
        (!is_irrelevant).then(|| ImageFile { name: self.name(folder, path), source: Err(reason) })
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Whether the extension is that of a format that Kiln decodes, accepted or not.
fn has_image_extension(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|extension| Format::from_extension(extension).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/.git")).unwrap();
        for name in ["b.JPG", "c.webp", "notes.txt", ".hidden.png", "a/d.png", "a/.git/e.png"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    fn names(paths: &[&Path], recursive: bool) -> Vec<String> {
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        ImageFiles { paths, recursive }.walk().map(|file| file.name).collect()
    }

    #[test]
    fn folder_has_its_images_in_order() {
        let folder = folder();
        assert_eq!(names(&[folder.path()], false), ["b.JPG", "c.webp"]);
        assert_eq!(names(&[folder.path()], true), ["a/d.png", "b.JPG", "c.webp"]);
    }

    #[test]
    fn named_files_are_listed_whatever_their_name() {
        let folder = folder();
        let paths = [".hidden.png", "notes.txt", "missing"].map(|name| folder.path().join(name));
        let given: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        assert_eq!(names(&given, false), paths.map(|path| path.display().to_string()));
        let stdin = ImageFiles { paths: vec![STDIN.into()], recursive: false };
        let only = ImageFile { name: "-".to_string(), source: Ok(ImageSource::Stdin) };
        assert_eq!(stdin.walk().collect::<Vec<_>>(), [only]);
    }

    #[test]
    fn names_below_several_paths_begin_with_the_folder() {
        let folder = folder();
        let (a, notes) = (folder.path().join("a"), folder.path().join("notes.txt"));
        let expected = [a.join("d.png"), notes.clone()].map(|path| path.display().to_string());
        assert_eq!(names(&[&a, &notes], false), expected);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_except_in_circles() {
        use std::os::unix::fs::symlink;

        let folder = folder();
        symlink("b.JPG", folder.path().join("link.png")).unwrap();
        symlink("..", folder.path().join("a/up")).unwrap();
        symlink("nowhere", folder.path().join("broken")).unwrap();
        assert_eq!(names(&[folder.path()], true), ["a/d.png", "b.JPG", "c.webp", "link.png"]);
    }
}
