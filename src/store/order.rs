//! What an operator may ask of a store, as `kiln models` has it.

use std::path::PathBuf;

use super::Canary;

/// One thing to be done. Where there is a `model`, it is a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Show every version.
    List,
    /// Take in weights.
    Add {
        /// Whose graph they are for.
        model: String,
        /// A Burnpack file.
        file: PathBuf,
        /// What to call them; the next number where absent.
        version: Option<String>,
    },
    /// Write weights to a file.
    Export {
        /// Whose.
        model: String,
        /// Which; those of the stable version where absent.
        version: Option<String>,
        /// The file.
        out: PathBuf,
    },
    /// Make a version stable.
    Promote {
        /// Of which model.
        model: String,
        /// Which.
        version: String,
    },
    /// Make the version stable that was before.
    Rollback {
        /// Of which model.
        model: String,
    },
    /// Have a version answer some requests, or none any more.
    Canary {
        /// Of which model.
        model: String,
        /// Which, and how many.
        canary: Option<Canary>,
    },
    /// Have a version compared, or none any more.
    Shadow {
        /// Of which model.
        model: String,
        /// Which.
        version: Option<String>,
    },
    /// Delete a version.
    Remove {
        /// Of which model.
        model: String,
        /// Which.
        version: String,
    },
}
