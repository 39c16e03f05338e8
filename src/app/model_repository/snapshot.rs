//! The content of a model repository at one moment: which versions its folder has, and the state of their files.
//!
//! ```text
//! FOLDER/NAME/VERSION/model.onnx    a version; VERSION is a positive number
//! FOLDER/NAME/model.onnx            version 1
//! ```
//!
//! Names that begin with a dot, and `lost+found`, are ignored.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{Metadata, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kiln_runtime::file_watcher::Fingerprint;
use model_import::import::check_name;

/// The network of a version.
const NETWORK: &str = "model.onnx";
/// Extensions of files in a model's folder that describe all its versions.
const DESCRIPTIONS: [&str; 3] = ["toml", "txt", "json"];
/// A file that was modified this long before the first scan is not being copied.
const SETTLED: Duration = Duration::from_secs(2);

/// A version of a model. Ordered by model, and those of a model by version, the highest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VersionKey {
    pub(super) model: String,
    version: Reverse<u64>,
}

impl VersionKey {
    pub(super) fn new(model: &str, version: u64) -> Self {
        Self { model: model.to_string(), version: Reverse(version) }
    }

    pub(super) fn version(&self) -> u64 {
        self.version.0
    }
}

/// The files of a version and their state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct VersionFiles {
    /// The network.
    pub(super) onnx: PathBuf,
    pub(super) model_folder: PathBuf,
    /// The network and every file that may belong to it: weights, class names, descriptions.
    pub(super) files: Vec<PathBuf>,
    state: Fingerprint,
    /// The newest modification time.
    modified: Option<SystemTime>,
}

/// A folder without a version, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InvalidFolder {
    pub(super) path: PathBuf,
    pub(super) reason: String,
}

/// The content of the repository at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) versions: BTreeMap<VersionKey, VersionFiles>,
    /// Folders without a version, by the model's name.
    pub(super) invalid: BTreeMap<String, InvalidFolder>,
}

impl VersionFiles {
    fn new(onnx: PathBuf, model_folder: &Path) -> io::Result<Self> {
        let version_folder = onnx.parent().unwrap_or(model_folder);
        let mut files = files_of(version_folder, |_| true)?;
        add_files_below(version_folder, version_folder == model_folder, &mut BTreeSet::new(), &mut files);
        if version_folder != model_folder {
            let describes =
                |path: &Path| path.extension().is_some_and(|end| DESCRIPTIONS.iter().any(|text| end == *text));
            files.extend(files_of(model_folder, describes)?);
        }
        files.sort();
        let modified = files.iter().filter_map(|file| file.metadata().ok()?.modified().ok()).max();
        Ok(Self { state: Fingerprint::of(&files), onnx, model_folder: model_folder.to_path_buf(), files, modified })
    }

    /// Returns whether no file was modified lately.
    pub(super) fn is_old(&self) -> bool {
        self.modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|elapsed| elapsed >= SETTLED)
    }
}

impl Snapshot {
    /// Reads the folder of a repository. A model whose folder cannot be read stays as it was in `previous`.
    ///
    /// # Errors
    ///
    /// The folder of the repository cannot be read.
    pub(super) fn read(folder: &Path, previous: Option<&Self>) -> io::Result<Self> {
        let mut snapshot = Self::default();
        for (name, path) in entries(std::fs::read_dir(folder)?, Metadata::is_dir)? {
            if let Err(reason) = check_name(&name) {
                let reason = format!("{reason}. Rename the folder: its name is the name of the model.");
                snapshot.invalid.insert(name, InvalidFolder { path, reason });
            } else {
                snapshot.read_model(name, path, previous);
            }
        }
        Ok(snapshot)
    }

    /// Returns this snapshot with the folder of one model read again. The name may be a client's.
    ///
    /// # Errors
    ///
    /// The folder of the repository cannot be read.
    pub(super) fn with_model(&self, folder: &Path, model: &str) -> io::Result<Self> {
        // Opens the folder without reading it: the model is not absent because the repository is.
        std::fs::read_dir(folder)?;
        let mut snapshot = self.clone();
        snapshot.versions.retain(|key, _| key.model != model);
        snapshot.invalid.remove(model);
        if !is_ignored(model) && check_name(model).is_ok() && folder.join(model).is_dir() {
            snapshot.read_model(model.to_string(), folder.join(model), Some(self));
        }
        Ok(snapshot)
    }

    fn read_model(&mut self, name: String, path: PathBuf, previous: Option<&Self>) {
        match versions_of(&path) {
            Ok(versions) if versions.is_empty() => {
                let reason =
                    "the folder has no VERSION/model.onnx, with a number above 0 as VERSION. Add one.".to_string();
                self.invalid.insert(name, InvalidFolder { path, reason });
            }
            Ok(versions) => {
                let keyed = versions.into_iter().map(|(version, files)| (VersionKey::new(&name, version), files));
                self.versions.extend(keyed);
            }
            // The model may still be there, so its versions stay as they were.
            Err(error) => {
                let known = previous.iter().flat_map(|previous| &previous.versions);
                let known = known.filter(|(key, _)| key.model == name);
                self.versions.extend(known.map(|(key, files)| (key.clone(), files.clone())));
                let reason = format!("the folder cannot be read: {error}. Check that the server may read it.");
                self.invalid.insert(name, InvalidFolder { path, reason });
            }
        }
    }
}

fn versions_of(model_folder: &Path) -> io::Result<BTreeMap<u64, VersionFiles>> {
    let mut versions = BTreeMap::new();
    for (name, path) in entries(std::fs::read_dir(model_folder)?, Metadata::is_dir)? {
        let number = version_number(&name);
        let onnx = path.join(NETWORK);
        if let Some(number) = number
            && is_file(&onnx)?
        {
            versions.insert(number, VersionFiles::new(onnx, model_folder)?);
        }
    }
    let onnx = model_folder.join(NETWORK);
    if !versions.contains_key(&1) && is_file(&onnx)? {
        versions.insert(1, VersionFiles::new(onnx, model_folder)?);
    }
    Ok(versions)
}

/// Returns the version that a folder's name means. Triton also ignores a name with a leading zero.
fn version_number(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number| *number > 0 && !name.starts_with(['0', '+']))
}

/// Returns whether there is a file. A file that cannot be examined is an error: it is not absent.
fn is_file(path: &Path) -> io::Result<bool> {
    match path.metadata() {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

fn files_of(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    let all = entries(std::fs::read_dir(folder)?, Metadata::is_file)?.into_iter().map(|(_, path)| path);
    Ok(all.filter(|path| is_wanted(path)).collect())
}

/// Adds the files in all folders below `folder`, where a network may keep its weights. `skips_versions` leaves out the
/// folders of other versions. Links are followed; `visited` has the folders that were read, since links may form circles.
///
/// A folder that cannot be read is left out. If the network needs it, the load reports that.
fn add_files_below(folder: &Path, skips_versions: bool, visited: &mut BTreeSet<PathBuf>, files: &mut Vec<PathBuf>) {
    visited.extend(folder.canonicalize());
    let folders = std::fs::read_dir(folder).and_then(|folder| entries(folder, Metadata::is_dir));
    let mut folders = folders.unwrap_or_default();
    folders.sort();
    for (name, path) in folders {
        let is_other_version = skips_versions && version_number(&name).is_some();
        if !is_other_version && path.canonicalize().is_ok_and(|path| !visited.contains(&path)) {
            files.extend(files_of(&path, |_| true).unwrap_or_default());
            add_files_below(&path, false, visited, files);
        }
    }
}

/// Returns whether a repository ignores a name: a hidden one, or the folder that file systems create for their repair.
fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || name == "lost+found"
}

/// Returns the entries that are not ignored, with their names. Links are followed. An entry that vanishes is left out.
fn entries(folder: ReadDir, is_wanted: impl Fn(&Metadata) -> bool) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in folder {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_ignored(&name) && path.metadata().is_ok_and(|metadata| is_wanted(&metadata)) {
            found.push((name, path));
        }
    }
    Ok(found)
}
