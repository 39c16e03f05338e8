//! The images to classify: those of a folder, or a built-in photo.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kiln_image::Limits;
use kiln_inference::Sample;
use kiln_inference::model::Model;
use model_import::import::{read_file, terminal_text};

use super::super::error_output::print_error;

/// A photo of 640x480. `tests/data/photos` names its author and licence.
const PHOTO: &[u8] = include_bytes!("../../../tests/data/photos/cat_640x480.jpg");

/// Images as clients send them (`files`) and as engines take them (`prepared`), in the same order.
pub(super) struct Images {
    pub(super) files: Arc<[Bytes]>,
    pub(super) prepared: Arc<[Sample]>,
}

impl Images {
    /// Reads and preprocesses all images. A file that cannot be decoded is reported and skipped before the measurement.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be read, or if it contains no image that can be classified.
    pub(super) fn load(folder: Option<&Path>, model: &Model, limits: &Limits) -> Result<Self, String> {
        let recipe = kiln_classifier::preprocess_spec(model);
        let (mut files, mut prepared) = (Vec::new(), Vec::new());
        let mut last_error = None;
        for (name, file) in read_folder(folder, limits.decode_budget.capacity())? {
            let decoded = file.and_then(|file| match kiln_image::preprocess(&file, &recipe, limits) {
                Ok(decoded) => Ok((file, decoded.image)),
                Err(error) => Err(error.to_string()),
            });
            match decoded {
                Ok((file, image)) => {
                    prepared.push(Sample::from(image));
                    files.push(file);
                }
                Err(reason) => {
                    print_error(terminal_text(&format!("kiln: {name} is skipped: {reason}")));
                    last_error = Some(reason);
                }
            }
        }
        if files.is_empty() {
            let folder = folder.map(|path| path.display().to_string()).unwrap_or_default();
            let reason = last_error.unwrap_or_else(|| "it has no files".to_string());
            return Err(format!(
                "no image in {folder} can be classified ({reason}); set --images to a folder of images"
            ));
        }
        Ok(Self { files: files.into(), prepared: prepared.into() })
    }
}

/// A file's name, and its bytes or the error.
type NamedFile = (String, Result<Bytes, String>);

/// Reads the files of a folder, of at most `max_bytes` each, in the order of their names.
fn read_folder(folder: Option<&Path>, max_bytes: u64) -> Result<Vec<NamedFile>, String> {
    let Some(folder) = folder else {
        return Ok(vec![("the built-in photo".to_string(), Ok(Bytes::from_static(PHOTO)))]);
    };
    let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let file = read_file(path, max_bytes).map(Bytes::from).map_err(|error| error.to_string());
        (path.display().to_string(), file)
    };
    Ok(paths.iter().filter(|path| !path.is_dir()).map(read).collect())
}
