//! Finds the ONNX file, the folders whose files describe it, and the model's name.

use std::path::{Path, PathBuf};

use model_import::import::check_name;

use super::error::ModelFileError;
use super::files::{read_optional, unreadable};
use super::manifest::{self, Manifest};

/// A version in a model repository, whose folders decide its name and its version.
#[derive(Clone, Copy, Debug)]
pub struct RepositoryVersion<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Number of the version.
    pub version: u64,
    /// The model's folder, which may describe all versions.
    pub model_folder: &'a Path,
}

/// Names of ONNX files that say nothing about the model; its folder does.
const GENERIC_STEMS: [&str; 4] = ["model", "model_quantized", "model_fp16", "network"];
/// The number of file names that an error lists.
const MAX_LISTED: usize = 5;

/// An ONNX file and the files that describe it.
#[derive(Clone, Debug)]
pub(super) struct Location {
    /// The ONNX file.
    pub(super) onnx: PathBuf,
    /// The folders that are searched for labels and preprocessing, in order.
    pub(super) folders: Vec<PathBuf>,
    /// The model's name in requests.
    pub(super) name: String,
    /// The version, if the folder decides it.
    pub(super) version: Option<String>,
    /// The manifest, with its path.
    pub(super) manifest: Option<(PathBuf, Manifest)>,
}

impl Location {
    /// Finds the model at `path`, an ONNX file or a folder that holds one.
    pub(super) fn find(path: &Path) -> Result<Self, ModelFileError> {
        let metadata = path.metadata().map_err(|error| unreadable(path, &error))?;
        let onnx = if metadata.is_dir() { onnx_in_folder(path)? } else { path.to_path_buf() };
        let parent = match onnx.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        // Hugging Face repositories have their ONNX files in a folder `onnx`, below the files that describe them.
        let outer = parent.parent().filter(|_| parent.ends_with("onnx")).map(Path::to_path_buf);
        Self::in_folders(onnx, std::iter::once(parent).chain(outer).collect())
    }

    /// Finds the description of `onnx`, a version in a model repository: in the file's folder, and then in the model's folder.
    pub(super) fn in_repository(onnx: &Path, version: &RepositoryVersion) -> Result<Self, ModelFileError> {
        let parent = onnx.parent().unwrap_or(version.model_folder);
        let outer = (parent != version.model_folder).then(|| version.model_folder.to_path_buf());
        let location =
            Self::in_folders(onnx.to_path_buf(), std::iter::once(parent.to_path_buf()).chain(outer).collect())?;
        Ok(Self { name: version.model.to_string(), version: Some(version.version.to_string()), ..location })
    }

    fn in_folders(onnx: PathBuf, folders: Vec<PathBuf>) -> Result<Self, ModelFileError> {
        let file_name = onnx.file_name().unwrap_or_default();
        let mut manifest = None;
        for folder in &folders {
            let found = manifest::read(folder)?;
            // The manifest may describe another file of the folder.
            manifest = found.filter(|(_, found)| found.onnx.as_deref().is_none_or(|name| file_name == name));
            if manifest.is_some() {
                break;
            }
        }
        let name = manifest.as_ref().and_then(|(_, manifest)| manifest.name.clone());
        let name = name.unwrap_or_else(|| default_name(&onnx, &folders));
        Ok(Self { onnx, folders, name, version: None, manifest })
    }

    /// Reads the first of `names` that exists in a folder, of at most `max` bytes.
    pub(super) fn read_first(&self, names: &[&str], max: u64) -> Result<Option<(PathBuf, Vec<u8>)>, ModelFileError> {
        for folder in &self.folders {
            for name in names {
                if let Some(found) = read_optional(&folder.join(name), max)? {
                    return Ok(Some((folder.join(name), found)));
                }
            }
        }
        Ok(None)
    }
}

fn onnx_in_folder(folder: &Path) -> Result<PathBuf, ModelFileError> {
    if let Some((_, Manifest { onnx: Some(name), .. })) = manifest::read(folder)? {
        return Ok(folder.join(name));
    }
    for folder in [folder.to_path_buf(), folder.join("onnx")] {
        if !folder.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))?;
        let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".onnx") && !name.starts_with('.')).collect();
        names.sort();
        match &names[..] {
            [] => {}
            [only] => return Ok(folder.join(only)),
            several if several.iter().any(|name| name == "model.onnx") => return Ok(folder.join("model.onnx")),
            several => {
                let names = several.iter().take(MAX_LISTED).cloned().collect();
                return Err(ModelFileError::SeveralModels { folder, names });
            }
        }
    }
    Err(ModelFileError::NoModel(folder.to_path_buf()))
}

/// Returns the name of the file, or of its folder if the file's name says nothing, as a name that may stand in URLs.
fn default_name(onnx: &Path, folders: &[PathBuf]) -> String {
    let stem = onnx.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = folders.last().and_then(|folder| folder.canonicalize().ok());
    let folder = folder.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let text = folder.filter(|_| GENERIC_STEMS.contains(&stem.as_str())).unwrap_or(stem);
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = text.chars().map(allowed).take(100).collect();
    let name = name.trim_start_matches('.');
    if check_name(name).is_ok() { name.to_string() } else { "model".to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
    }

    #[test]
    fn folder_stands_for_its_onnx_file() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("dogs and cats");
        touch(&model, &["net.onnx", "labels.txt"]);
        let found = Location::find(&model).unwrap();
        assert_eq!((found.onnx, found.name.as_str()), (model.join("net.onnx"), "net"));
        touch(&model, &["other.onnx"]);
        let several = Location::find(&model).unwrap_err().to_string();
        assert!(several.contains("net.onnx, other.onnx"), "{several}");
        touch(&model, &["model.onnx"]);
        let found = Location::find(&model).unwrap();
        assert_eq!((found.onnx, found.name.as_str()), (model.join("model.onnx"), "dogs-and-cats"));
        std::fs::write(model.join("model.toml"), "onnx = \"other.onnx\"\nname = \"pets\"").unwrap();
        assert_eq!(Location::find(&model).unwrap().name, "pets");
        // The manifest describes another file.
        assert_eq!(Location::find(&model.join("net.onnx")).unwrap().name, "net");
        let nothing = folder.path().join("nothing");
        touch(&nothing, &["labels.txt"]);
        assert!(matches!(Location::find(&nothing), Err(ModelFileError::NoModel(_))));
        assert!(matches!(Location::find(&folder.path().join("no")), Err(ModelFileError::Unreadable { .. })));
    }

    #[test]
    fn hugging_face_repository_has_its_description_above_the_onnx_folder() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("vit-base");
        touch(&model, &["onnx/model.onnx", "onnx/model_quantized.onnx", "config.json"]);
        let found = Location::find(&model).unwrap();
        assert_eq!((found.onnx.clone(), found.name.as_str()), (model.join("onnx/model.onnx"), "vit-base"));
        assert_eq!(found.read_first(&["config.json"], 10).unwrap().unwrap().0, model.join("config.json"));
    }
}
