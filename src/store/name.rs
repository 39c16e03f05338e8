//! Which names models and versions may have: those of manifests, and none that means something else in a path or a request.

use super::{StoreError, shown};
use crate::model::Label;

/// The longest name; file systems take 255 bytes.
const LONGEST: usize = 100;

/// A name that stands for a folder of this store and for nothing else.
pub(super) fn check(what: &'static str, name: &str) -> Result<(), StoreError> {
    let nameable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // A dot in front is for what is being written, and for the folders '.' and '..'.
    if !name.is_empty() && name.len() <= LONGEST && !name.starts_with('.') && name.chars().all(nameable) {
        return Ok(());
    }
    Err(StoreError::Name { what, name: shown(name).chars().take(40).collect() })
}

/// The same for a version: requests ask for labels where they ask for versions.
///
/// # Errors
///
/// It has other characters, or it is a label.
pub fn check_version(name: &str) -> Result<(), StoreError> {
    check("version", name)?;
    if Label::ALL.iter().any(|label| label.word() == name) || name == "previous" || name.ends_with(".toml") {
        return Err(StoreError::Name { what: "version", name: name.to_string() });
    }
    Ok(())
}
