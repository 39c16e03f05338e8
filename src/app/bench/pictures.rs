//! The pictures that are classified: those of a folder, or one that is part of the program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::classifier;
use crate::image::{self, Limits};
use crate::inference::Sample;
use crate::model::Model;

/// A photo of 640x480, `tests/data/photos` says whose.
const PHOTO: &[u8] = include_bytes!("../../../tests/data/photos/cat_640x480.jpg");

/// Pictures as clients send them, and as engines take them; in the same order.
pub(super) struct Pictures {
    pub(super) files: Arc<[Bytes]>,
    pub(super) prepared: Arc<[Sample]>,
}

impl Pictures {
    /// Reads and prepares all of them, so that a broken one is told, and left out, before anything is measured.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or holds no picture that can be classified.
    pub(super) fn load(folder: Option<&Path>, model: &Model, limits: &Limits) -> Result<Self, String> {
        let recipe = classifier::recipe(model);
        let (mut files, mut prepared) = (Vec::new(), Vec::new());
        let mut refused = None;
        for (name, file) in read(folder)? {
            match image::prepare(&file, &recipe, limits) {
                Ok(decoded) => {
                    prepared.push(Sample::from(decoded.image));
                    files.push(file);
                }
                Err(error) => {
                    eprintln!("kiln: {name} is left out: {error}");
                    refused = Some(error.to_string());
                }
            }
        }
        if files.is_empty() {
            let folder = folder.map(|path| path.display().to_string()).unwrap_or_default();
            let why = refused.unwrap_or_else(|| "there is no file".to_string());
            return Err(format!(
                "no picture in {folder} can be classified ({why}). --images takes a folder of pictures."
            ));
        }
        Ok(Self { files: files.into(), prepared: prepared.into() })
    }
}

/// Files with their names.
fn read(folder: Option<&Path>) -> Result<Vec<(String, Bytes)>, String> {
    let Some(folder) = folder else {
        return Ok(vec![("the photo that is built in".to_string(), Bytes::from_static(PHOTO))]);
    };
    let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    // Folders have no order of their own.
    paths.sort();
    let read = |path: &PathBuf| {
        // What is no file, such as a pipe, may never end.
        path.is_file().then(|| std::fs::read(path).ok()).flatten().map(|file| (path.display().to_string(), file.into()))
    };
    Ok(paths.iter().filter_map(read).collect())
}
