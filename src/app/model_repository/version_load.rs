//! Loads one version of a model: compares the content of its files, opens them, and starts the engines.

use std::fs::File;
use std::time::Instant;

use kiln_inference::Step;
use kiln_inference::model_file::{self, FileOptions, RepositoryVersion};
use model_import::import::{sha256_hex, sha256_of};

use super::super::load::{self, LoadError, ModelLoader, join};
use super::super::model_reload::StartedVersion;
use super::reconciler::PlannedLoad;
use super::snapshot::VersionFiles;

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
        let VersionFiles { onnx, model_folder, .. } = &planned.files;
        let version = RepositoryVersion { model: &planned.key.model, version: planned.key.version(), model_folder };
        let file = model_file::open_version(onnx, &version, &options)?;
        load::log_opened(&file, begun);
        let engines = loader.start_engines(&file.model, &progress)?;
        Ok(LoadOutcome::Started { digest, started: (file.model, engines) })
    };
    join(tokio::task::spawn_blocking(work).await)
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
