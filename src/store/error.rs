//! What can be wrong with a store. Each sentence says whose fault it is, and where that helps what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why something cannot be read from the store, or written to it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A name with other characters, or one that means something else.
    #[error(
        "'{name}' cannot be the name of a {what}: it must be letters, digits, '-', '_' and '.' (not in front), 100 at most, \
         and no version may be called as a label is."
    )]
    Name {
        /// `model` or `version`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Nobody has added it.
    #[error("there is no version '{version}'{}. 'kiln models list' shows all.", list(.known))]
    NoSuchVersion {
        /// What was asked for.
        version: String,
        /// What there is besides the one that was built in.
        known: Vec<String>,
    },
    /// A version of that name is there.
    #[error("there is a version '{version}' already. Choose another one, or leave --version out for the next number.")]
    Taken {
        /// The name.
        version: String,
    },
    /// It is what it should become.
    #[error("version '{version}' is the stable one already.")]
    Already {
        /// The version.
        version: String,
    },
    /// Nothing was promoted yet, or what was stable before cannot be read.
    #[error("there is no version to go back to: none was promoted yet, or the one before is of no use any more.")]
    NothingBefore,
    /// It is no part of something.
    #[error("a share is {0}; it has to be from 0 to 1, or from 0% to 100%.")]
    Share(f64),
    /// It is in use.
    #[error("version '{version}' is labelled '{label}' and stays. Give the label to another one first.")]
    Labelled {
        /// The version.
        version: String,
        /// What it is there for.
        label: &'static str,
    },
    /// It is part of the program.
    #[error("version '{version}' is the one that the program was built with; it cannot be removed.")]
    BuiltIn {
        /// The version.
        version: String,
    },
    /// Its graph is not the one that was compiled in.
    #[error(
        "version '{version}' was made for another graph than this program has. Build the program that it was made for, or \
         add the weights that belong to this one."
    )]
    OtherGraph {
        /// The version.
        version: String,
    },
    /// The weights are not those that were added.
    #[error("{path} has changed since it was added: it is {found}, and the manifest says {expected}. Add it anew.")]
    Digest {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it was.
        expected: String,
    },
    /// The labels are not to be understood.
    #[error("{path} is damaged: {reason}. Mend it, or delete it and label the versions anew.")]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The highest number is not to be understood.
    #[error("{path} is damaged: {reason}. Write 'last = N' into it, with the highest number that a version ever had.")]
    Numbers {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The program was built with a version of that name.
    #[error(
        "{path} is never served: the program was built with a version of that name, {difference}. Add the folder's weights \
         under another name and label that one, or delete the folder."
    )]
    Namesake {
        /// The folder.
        path: PathBuf,
        /// How the two differ.
        difference: String,
    },
    /// A version's description is not to be understood.
    #[error("{path} is damaged: {reason}. Add the version anew.")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The logits are none.
    #[error("{path} does not hold a version's logits: {reason}. Add the version anew.")]
    Golden {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A folder, a pipe, a device.
    #[error("{path} is no file. What comes through a pipe has to be put into one first.")]
    NoFile {
        /// What was to be read.
        path: PathBuf,
    },
    /// Larger than anything that fits.
    #[error("{path} is larger than {most} bytes, which no file that fits is.")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        most: usize,
    },
    /// The file system.
    #[error("{path}: {error}")]
    Io {
        /// What was to be read or written.
        path: PathBuf,
        /// Why it was not.
        error: io::Error,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), error }
    }

    /// Its sentence as a part of another one.
    pub(super) fn clause(&self) -> String {
        self.to_string().trim_end_matches('.').to_string()
    }
}

fn list(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; there is {}", known.join(", ")) }
}
