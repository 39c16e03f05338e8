//! Which names models and versions may have: those of manifests, and none that means something else in a path or a request.

use model_import::import;

use super::{StoreError, shown};

/// A name that stands for a folder of this store and for nothing else.
pub(super) fn check(what: &'static str, name: &str) -> Result<(), StoreError> {
    import::check_name(name).map_err(|_| refused(what, name))
}

/// The same for a version: requests ask for labels where they ask for versions.
///
/// # Errors
///
/// It has other characters, or it is a label.
pub fn check_version(name: &str) -> Result<(), StoreError> {
    import::check_version(name).map_err(|_| refused("version", name))
}

fn refused(what: &'static str, name: &str) -> StoreError {
    StoreError::Name { what, name: shown(name).chars().take(40).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_inference::model::VersionLabel;

    #[test]
    fn no_version_is_called_as_a_label_is() {
        for word in VersionLabel::ALL.map(VersionLabel::as_str).into_iter().chain(["previous", "numbers.toml"]) {
            assert!(check("version", word).is_ok() && check_version(word).is_err(), "{word}");
        }
    }
}
