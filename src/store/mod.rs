//! Versions of models on disk, and which of them is to answer: a folder that commands write and servers read. Files only: what
//! weights mean, and whether a device computes rightly with them, is for others.
//!
//! ```text
//! DIR/NAME/labels.toml              which version is stable, canary, shadow
//! DIR/NAME/numbers.toml             the highest number that a version ever had
//! DIR/NAME/VERSION/manifest.toml    what the version is
//! DIR/NAME/VERSION/weights.bpk      its weights
//! DIR/NAME/VERSION/reference_logits.txt       its logits of the synthetic picture, one a line
//! ```
//!
//! Whatever is written appears whole or not at all: in a file or folder beside its place, which is then renamed. The version
//! that the program was built with has no folder; it is there under its own name, and stable where nothing says otherwise.
//!
//! | file | responsibility |
//! |---|---|
//! | `name.rs` | which names may be |
//! | `labels.rs` | `labels.toml` |
//! | `change.rs` | promote, roll back, and what else moves labels |
//! | `manifest.rs` | `manifest.toml` |
//! | `golden.rs` | `reference_logits.txt` |
//! | `version.rs` | a version's folder |
//! | `numbers.rs` | `numbers.toml` |
//! | `namesake.rs` | a folder with the built-in version's name |
//! | `disk.rs` | writing that is whole or not at all |
//! | `hidden.rs` | what is being written, and what was left of that |
//! | `order.rs` | what an operator may ask for |
//! | `share.rs` | which part of the requests a canary answers |
//! | `error.rs` | what can be wrong |

mod change;
mod disk;
mod error;
mod golden;
mod hidden;
mod labels;
mod manifest;
mod name;
mod namesake;
mod numbers;
mod order;
mod share;
#[cfg(test)]
mod tests;
mod version;

use std::path::{Path, PathBuf};

pub use error::StoreError;
pub use labels::{Canary, Labels};
pub use manifest::Manifest;
pub use name::check_version;
pub use order::Order;
pub use share::Share;
pub use version::{Listed, read_weights, write_weights};

/// A folder of versions. Cheap to clone; holds nothing but the path.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in `folder`, which need not be there yet.
    pub fn open(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a model's versions and labels are.
    fn of(&self, model: &str) -> Result<PathBuf, StoreError> {
        name::check("model", model)?;
        Ok(self.folder.join(model))
    }

    /// Every file that decides what is served of a model, for who wants to see them change: its labels, and the parts of those
    /// versions.
    pub fn files(&self, model: &str, versions: &[&str]) -> Vec<PathBuf> {
        let Ok(folder) = self.of(model) else { return Vec::new() };
        let parts = |version: &&str| {
            [version::MANIFEST, version::WEIGHTS, golden::FILE].map(|file| folder.join(version).join(file))
        };
        let versions = versions.iter().filter(|version| name::check("version", version).is_ok());
        std::iter::once(folder.join(labels::FILE)).chain(versions.flat_map(parts)).collect()
    }
}

/// A text from a file, as a terminal may have it.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
