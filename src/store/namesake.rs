//! A folder with the name of the version that was built in, as a store has it after a build with the next version: the built-in
//! one answers by that name, and nobody gets what is in the folder.

use super::version::{MANIFEST, graph};
use super::{Store, StoreError};
use kiln_inference::model::Model;

impl Store {
    /// What to tell of the folder with the name of the version that was built in; nothing where there is none.
    ///
    /// # Errors
    ///
    /// There is one with a label, and it is not the same as what was built in: which of the two is meant is not to be guessed.
    /// Or the labels cannot be read.
    pub fn namesake(&self, model: &Model) -> Result<Option<StoreError>, StoreError> {
        let Some((found, is_same)) = self.found_namesake(model)? else { return Ok(None) };
        let is_named = self.labels(model.spec().name)?.names(model.spec().version);
        if is_named && !is_same { Err(found) } else { Ok(Some(found)) }
    }

    /// The same whatever has labels, and whether it is the same as what was built in.
    pub(super) fn found_namesake(&self, model: &Model) -> Result<Option<(StoreError, bool)>, StoreError> {
        let path = self.of(model.spec().name)?.join(model.spec().version);
        if !path.join(MANIFEST).exists() {
            return Ok(None);
        }
        let (difference, is_same) = match self.manifest(model, model.spec().version) {
            Err(error) => (format!("and it is not known whether with these weights: {}", error.clause()), false),
            Ok(manifest) if manifest.graph != graph(model) => ("for another graph".to_string(), false),
            Ok(manifest) if manifest.weights != model.weights_digest() => ("with other weights".to_string(), false),
            Ok(_) => ("with the same weights".to_string(), true),
        };
        Ok(Some((StoreError::Namesake { path, difference }, is_same)))
    }
}
