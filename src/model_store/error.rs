//! [`StoreError`]. Each message states the cause and, where possible, the next step.

use std::io;
use std::path::{Path, PathBuf};

use crate::shell::models_command;

/// The error of an operation on the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A name has invalid characters or is reserved.
    #[error(
        "'{name}' cannot be the name of a {what}: it must be letters, digits, '-', '_' and '.' (not as the first character), \
         100 at most, and no version may have the name of a label."
    )]
    InvalidName {
        /// `model` or `version`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The version does not exist.
    #[error("there is no version '{version}'{}. '{}' shows all.", list(.known), models_command("list", .store))]
    NoSuchVersion {
        /// The requested version.
        version: String,
        /// The versions in the store, without the built-in one.
        known: Vec<String>,
        /// Folder of the store.
        store: PathBuf,
    },
    /// A version of that name exists.
    #[error("version '{version}' exists already. Choose another name, or omit --version to use the next number.")]
    VersionExists {
        /// The name.
        version: String,
    },
    /// The version is stable already.
    #[error("version '{version}' is the stable version already.")]
    AlreadyStable {
        /// The version.
        version: String,
    },
    /// No version was promoted yet, or the previous stable version cannot be read.
    #[error(
        "there is no version to go back to: no version was promoted yet, or the previous stable version is not usable."
    )]
    NoPreviousVersion,
    /// The number is not a share.
    #[error("a share is {0}; it must be from 0 to 1, or from 0% to 100%.")]
    InvalidShare(f64),
    /// The version has a label.
    #[error(
        "version '{version}' is labelled '{label}' and cannot be removed. Give the label to another version first."
    )]
    Labelled {
        /// The version.
        version: String,
        /// Its label.
        label: &'static str,
    },
    /// The version is part of the program.
    #[error("version '{version}' is built into the program and cannot be removed.")]
    BuiltIn {
        /// The version.
        version: String,
    },
    /// The graph of the version differs from the compiled one.
    #[error(
        "version '{version}' was made for another graph than the one in this program. Build the program that it was made \
         for, or add weights for this graph."
    )]
    GraphMismatch {
        /// The version.
        version: String,
    },
    /// A file differs from the one that was added.
    #[error(
        "{path} has changed since it was added: its digest is {found}, but the manifest has {expected}. \
         Add the version again."
    )]
    DigestMismatch {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The digest in the manifest.
        expected: String,
    },
    /// The labels cannot be parsed.
    #[error("{path} is damaged: {reason}. Correct it, or delete it and set the labels again.")]
    CorruptLabels {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// The highest version number cannot be parsed.
    #[error(
        "{path} is damaged: {reason}. Write 'last = N' into it, where N is the highest number that a version ever had."
    )]
    CorruptVersionCounter {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// A version in the store has the name of the built-in version.
    #[error(
        "{path} is never served: the built-in version has the same name, {difference}. Add the folder's weights under \
         another name and label that version, or delete the folder."
    )]
    BuiltInConflict {
        /// The folder.
        path: PathBuf,
        /// The difference between the two.
        difference: String,
    },
    /// The manifest of a version cannot be parsed.
    #[error("{path} is damaged: {reason}. Add the version again.")]
    CorruptManifest {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// The reference logits cannot be parsed.
    #[error("{path} does not hold the reference logits of a version: {reason}. Add the version again.")]
    CorruptReferenceLogits {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// The path is a folder, a pipe or a device.
    #[error("{path} is not a regular file. Write the output of a pipe to a file first.")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is larger than the maximum.
    #[error("{path} is larger than {max_bytes} bytes, the maximum for such a file.")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The maximum.
        max_bytes: usize,
    },
    /// A file system operation failed.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), error }
    }

    /// Returns the message without its final full stop, as part of another message.
    pub(super) fn clause(&self) -> String {
        self.to_string().trim_end_matches('.').to_string()
    }
}

fn list(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; there is {}", known.join(", ")) }
}
