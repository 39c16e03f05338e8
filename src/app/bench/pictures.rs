//! The pictures that are classified: those of a folder, or one that is part of the program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use model_import::import::{read_file, terminal_text};

use kiln_classifier as classifier;
use kiln_image::{self as image, Limits};
use kiln_inference::Sample;
use kiln_inference::model::Model;

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
        for (name, file) in read(folder, limits.decoded.most())? {
            let decoded = file.and_then(|file| match image::prepare(&file, &recipe, limits) {
                Ok(decoded) => Ok((file, decoded.image)),
                Err(error) => Err(error.to_string()),
            });
            match decoded {
                Ok((file, image)) => {
                    prepared.push(Sample::from(image));
                    files.push(file);
                }
                Err(reason) => {
                    eprintln!("{}", terminal_text(&format!("kiln: {name} is left out: {reason}")));
                    refused = Some(reason);
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

/// A file's name, and its bytes or why there are none.
type Named = (String, Result<Bytes, String>);

/// The files of a folder, of at most `most` bytes each.
fn read(folder: Option<&Path>, most: u64) -> Result<Vec<Named>, String> {
    let Some(folder) = folder else {
        return Ok(vec![("the photo that is built in".to_string(), Ok(Bytes::from_static(PHOTO)))]);
    };
    let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    // Folders have no order of their own.
    paths.sort();
    let read = |path: &PathBuf| {
        let file = read_file(path, most).map(Bytes::from).map_err(|error| error.to_string());
        (path.display().to_string(), file)
    };
    // A folder in it is nobody's picture.
    Ok(paths.iter().filter(|path| !path.is_dir()).map(read).collect())
}
