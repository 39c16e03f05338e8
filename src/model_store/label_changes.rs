//! The operations that change labels. Each one holds the lock of the model's folder and replaces `labels.toml`
//! atomically.

use super::{Canary, Labels, ModelStore, StoreError, atomic_fs};
use kiln_inference::model::Model;

impl ModelStore {
    /// Returns a model's labels; no labels if there is no file.
    ///
    /// # Errors
    ///
    /// The file cannot be read or parsed.
    pub fn labels(&self, model: &str) -> Result<Labels, StoreError> {
        Labels::read(&self.model_folder(model)?)
    }

    /// Returns the version of a model that serves requests without a version: the built-in version, unless a label says
    /// otherwise.
    ///
    /// # Errors
    ///
    /// See [`ModelStore::labels`] and [`ModelStore::built_in_conflict`].
    pub fn stable(&self, model: &Model) -> Result<String, StoreError> {
        let spec = model.spec();
        self.built_in_conflict(model)?;
        Ok(self.labels(&spec.name)?.stable_or(&spec.version).to_string())
    }

    /// Makes `version` the stable version. The version loses its canary and shadow labels. The previous stable version
    /// is recorded if it is still usable.
    ///
    /// # Errors
    ///
    /// The version does not exist, its files are damaged or for another graph, it is stable already, or the labels
    /// cannot be read or written.
    pub fn promote(&self, model: &Model, version: &str) -> Result<Labels, StoreError> {
        self.change_labels(model, |labels, built_in| self.make_stable(model, version, labels, built_in))
    }

    /// Makes the previous stable version stable again. A second call undoes the first one.
    ///
    /// # Errors
    ///
    /// There is no previous version, its files are damaged or for another graph, or the labels cannot be read or
    /// written.
    pub fn roll_back(&self, model: &Model) -> Result<Labels, StoreError> {
        self.change_labels(model, |labels, built_in| {
            let previous = labels.previous.clone().ok_or(StoreError::NoPreviousVersion)?;
            self.make_stable(model, &previous, labels, built_in)
        })
    }

    fn make_stable(&self, model: &Model, version: &str, labels: &mut Labels, built_in: &str) -> Result<(), StoreError> {
        let before = labels.stable_or(built_in).to_string();
        if before == version {
            return Err(StoreError::AlreadyStable { version: before });
        }
        self.verify(model, version)?;
        // If the version before is not usable, the one before that can still be the target of a rollback.
        let previous = [Some(before), labels.previous.take()].into_iter().flatten().filter(|known| known != version);
        labels.previous = previous.into_iter().find(|known| self.verify(model, known).is_ok());
        labels.stable = Some(version.to_string());
        labels.canary = labels.canary.take().filter(|canary| canary.version != version);
        labels.shadow = labels.shadow.take().filter(|shadow| shadow != version);
        Ok(())
    }

    /// Sets the canary, a version that serves a share of the requests without a version; `None` ends the canary.
    ///
    /// # Errors
    ///
    /// The version does not exist, its files are damaged or for another graph, it is the stable version, or the labels
    /// cannot be read or written.
    pub fn set_canary(&self, model: &Model, canary: Option<Canary>) -> Result<Labels, StoreError> {
        self.change_labels(model, |labels, built_in| {
            if let Some(canary) = &canary {
                self.verify_candidate(model, &canary.version, labels, built_in)?;
            }
            labels.canary = canary;
            Ok(())
        })
    }

    /// Sets the shadow, a version whose predictions are compared with those of the stable version; `None` ends the
    /// shadow.
    ///
    /// # Errors
    ///
    /// The version does not exist, its files are damaged or for another graph, it is the stable version, or the labels
    /// cannot be read or written.
    pub fn set_shadow(&self, model: &Model, version: Option<&str>) -> Result<Labels, StoreError> {
        self.change_labels(model, |labels, built_in| {
            version.map_or(Ok(()), |version| self.verify_candidate(model, version, labels, built_in))?;
            labels.shadow = version.map(ToString::to_string);
            Ok(())
        })
    }

    /// Verifies a version that is to be canary or shadow: it must be usable and not the stable version.
    fn verify_candidate(
        &self,
        model: &Model,
        version: &str,
        labels: &Labels,
        built_in: &str,
    ) -> Result<(), StoreError> {
        if labels.stable_or(built_in) == version {
            return Err(StoreError::AlreadyStable { version: version.to_string() });
        }
        self.verify(model, version)
    }

    /// Reads, changes and writes the labels while holding the lock.
    fn change_labels(
        &self,
        model: &Model,
        change: impl FnOnce(&mut Labels, &str) -> Result<(), StoreError>,
    ) -> Result<Labels, StoreError> {
        let folder = self.model_folder(model.name())?;
        atomic_fs::create_dir_all(&folder)?;
        let _lock = atomic_fs::lock(&folder)?;
        let mut labels = Labels::read(&folder)?;
        change(&mut labels, model.original_version())?;
        labels.write(&folder)?;
        Ok(labels)
    }
}
