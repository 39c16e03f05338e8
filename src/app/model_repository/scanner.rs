//! The content of a model repository: which versions its folder has, and the state of their files.
//!
//! ```text
//! FOLDER/NAME/VERSION/model.onnx    a version; VERSION is a positive number
//! FOLDER/NAME/model.onnx            version 1
//! ```
//!
//! A version counts when two scans in a row find the same files, so that a file that is being copied is not opened. For
//! the same reason a version is gone when two scans in a row do not find it.

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

/// What two scans found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The versions; `None` for one that differs from the previous scan.
    pub(super) versions: BTreeMap<VersionKey, Option<VersionFiles>>,
    /// Folders without a version, by the model's name.
    pub(super) invalid: BTreeMap<String, InvalidFolder>,
}

impl Scan {
    /// Returns whether all versions are the same as in the previous scan.
    pub(super) fn is_settled(&self) -> bool {
        self.versions.values().all(Option::is_some)
    }
}

/// The content of the repository in one scan.
#[derive(Debug, Default)]
struct Snapshot {
    versions: BTreeMap<VersionKey, VersionFiles>,
    invalid: BTreeMap<String, InvalidFolder>,
}

/// Scans the folder of a repository. Blocks while it reads folders.
#[derive(Debug)]
pub(super) struct Scanner {
    folder: PathBuf,
    previous: Option<Snapshot>,
}

impl Scanner {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, previous: None }
    }

    /// Scans the folder and compares it with the previous scan. `now` names a model whose files count as they are.
    ///
    /// # Errors
    ///
    /// The folder cannot be read. The next scan is compared with the last one that succeeded.
    pub(super) fn scan(&mut self, now: Option<&str>) -> io::Result<Scan> {
        let current = read(&self.folder, self.previous.as_ref())?;
        let keys = current.versions.keys().chain(self.previous.iter().flat_map(|previous| previous.versions.keys()));
        let keys: BTreeSet<&VersionKey> = keys.collect();
        let mut scan = Scan::default();
        for key in keys {
            let files = current.versions.get(key);
            let is_settled = now == Some(key.model.as_str())
                || match (&self.previous, files) {
                    (Some(previous), files) => previous.versions.get(key) == files,
                    (None, files) => files.is_some_and(VersionFiles::is_old),
                };
            match (is_settled, files) {
                (true, Some(files)) => scan.versions.insert(key.clone(), Some(files.clone())),
                (true, None) => continue,
                (false, _) => scan.versions.insert(key.clone(), None),
            };
        }
        // At the first scan an invalid folder is reported at once, because the start depends on it.
        let is_known = |(name, folder): &(&String, &InvalidFolder)| {
            let previous = self.previous.as_ref();
            previous.is_none_or(|previous| previous.invalid.get(*name) == Some(*folder)) || now == Some(name.as_str())
        };
        scan.invalid =
            current.invalid.iter().filter(is_known).map(|(name, folder)| (name.clone(), folder.clone())).collect();
        self.previous = Some(current);
        Ok(scan)
    }
}

impl VersionFiles {
    fn new(onnx: PathBuf, model_folder: &Path) -> io::Result<Self> {
        let version_folder = onnx.parent().unwrap_or(model_folder);
        let mut files = files_of(version_folder, |_| true)?;
        if version_folder != model_folder {
            let describes =
                |path: &Path| path.extension().is_some_and(|end| DESCRIPTIONS.iter().any(|text| end == *text));
            files.extend(files_of(model_folder, describes)?);
        }
        files.sort();
        let modified = files.iter().filter_map(|file| file.metadata().ok()?.modified().ok()).max();
        Ok(Self { state: Fingerprint::of(&files), onnx, model_folder: model_folder.to_path_buf(), files, modified })
    }

    fn is_old(&self) -> bool {
        self.modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|elapsed| elapsed >= SETTLED)
    }
}

fn read(folder: &Path, previous: Option<&Snapshot>) -> io::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    for (name, path) in entries(std::fs::read_dir(folder)?, Metadata::is_dir)? {
        if let Err(reason) = check_name(&name) {
            let reason = format!("{reason}. Rename the folder: its name is the name of the model.");
            snapshot.invalid.insert(name, InvalidFolder { path, reason });
            continue;
        }
        match versions_of(&path) {
            Ok(versions) if versions.is_empty() => {
                let reason =
                    "the folder has no VERSION/model.onnx, with a number above 0 as VERSION. Add one.".to_string();
                snapshot.invalid.insert(name, InvalidFolder { path, reason });
            }
            Ok(versions) => {
                let keyed = versions.into_iter().map(|(version, files)| (VersionKey::new(&name, version), files));
                snapshot.versions.extend(keyed);
            }
            // The model may still be there, so its versions stay as they were.
            Err(error) => {
                let known = previous.iter().flat_map(|previous| &previous.versions);
                let known = known.filter(|(key, _)| key.model == name);
                snapshot.versions.extend(known.map(|(key, files)| (key.clone(), files.clone())));
                let reason = format!("the folder cannot be read: {error}. Check that the server may read it.");
                snapshot.invalid.insert(name, InvalidFolder { path, reason });
            }
        }
    }
    Ok(snapshot)
}

fn versions_of(model_folder: &Path) -> io::Result<BTreeMap<u64, VersionFiles>> {
    let mut versions = BTreeMap::new();
    for (name, path) in entries(std::fs::read_dir(model_folder)?, Metadata::is_dir)? {
        // Triton also ignores a name with a leading zero.
        let number = name.parse::<u64>().ok().filter(|number| *number > 0 && !name.starts_with(['0', '+']));
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

/// Returns the entries that are not hidden, with their names. Links are followed. An entry that vanishes is left out.
fn entries(folder: ReadDir, is_wanted: impl Fn(&Metadata) -> bool) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in folder {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') && path.metadata().is_ok_and(|metadata| is_wanted(&metadata)) {
            found.push((name, path));
        }
    }
    Ok(found)
}
