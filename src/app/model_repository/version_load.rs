//! Loads one version of a model: compares the content of its files, opens them, and starts the engines.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kiln_inference::Step;
use kiln_inference::model_file::{self, FileOptions, ModelFile, ModelFileError, RepositoryVersion};
use model_import::import::{sha256_hex, sha256_of};

use super::super::load::{self, LoadError, ModelLoader, join};
use super::super::model_reload::StartedVersion;
use super::reconciler::PlannedLoad;
use super::snapshot::{InvalidFolder, Snapshot, VersionFiles, VersionKey};

/// The result of a load that did not fail.
pub(super) enum LoadOutcome {
    /// The engines run and are warm.
    Started {
        /// The digest of the content of the version's files.
        digest: String,
        /// The model and its engines.
        started: StartedVersion,
    },
    /// The content of the files is that of the loaded version.
    SameContent,
}

/// Loads a version on a blocking thread.
pub(super) async fn load_version(
    loader: ModelLoader,
    options: FileOptions,
    planned: PlannedLoad,
    progress: fn(Step),
) -> Result<LoadOutcome, LoadError> {
    let work = move || {
        let digest = content_digest(&planned.files)?;
        if planned.loaded_digest.as_ref() == Some(&digest) {
            return Ok(LoadOutcome::SameContent);
        }
        let begun = Instant::now();
        let file = open(&planned.key, &planned.files, &options)?;
        load::log_opened(&file, begun);
        let engines = loader.start_engines(&file.model, &progress)?;
        Ok(LoadOutcome::Started { digest, started: (file.model, engines) })
    };
    join(tokio::task::spawn_blocking(work).await)
}

/// Opens a version and finds its description. Starts no engine.
fn open(key: &VersionKey, files: &VersionFiles, options: &FileOptions) -> Result<ModelFile, ModelFileError> {
    let VersionFiles { onnx, model_folder, .. } = files;
    let version = RepositoryVersion { model: &key.model, version: key.version(), model_folder };
    model_file::open_version(onnx, &version, options)
}

/// The models of a repository, without engines.
#[derive(Debug)]
pub(in crate::app) struct OpenedVersions {
    /// The network of each version, with its model or the reason why it cannot be opened.
    pub(in crate::app) versions: Vec<(PathBuf, Result<ModelFile, String>)>,
    /// Folders without a version, with the reason, which ends with the next step.
    pub(in crate::app) invalid: Vec<(PathBuf, String)>,
}

/// Opens all versions in a repository, as a server does.
///
/// # Errors
///
/// The folder cannot be read.
pub(in crate::app) fn open_versions(folder: &Path, options: &FileOptions) -> io::Result<OpenedVersions> {
    let snapshot = Snapshot::read(folder, None)?;
    let invalid = snapshot.invalid.into_values().map(|InvalidFolder { path, reason }| (path, reason)).collect();
    let opened = snapshot.versions.iter().map(|(key, files)| {
        let opened = open(key, files, options).map_err(|error| error.to_string());
        (files.onnx.clone(), opened)
    });
    Ok(OpenedVersions { versions: opened.collect(), invalid })
}

/// Returns a digest of the names and the content of all files of a version.
pub(super) fn content_digest(version: &VersionFiles) -> Result<String, LoadError> {
    let mut all = Vec::new();
    for path in &version.files {
        let content = File::open(path).and_then(sha256_of);
        let content = content.map_err(|reason| LoadError::RepositoryFile { path: path.clone(), reason })?;
        // The digest has a fixed length, so the end of the name is unambiguous.
        all.extend_from_slice(path.as_os_str().as_encoded_bytes());
        all.extend_from_slice(content.as_bytes());
    }
    Ok(sha256_hex(&all))
}
