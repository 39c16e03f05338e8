//! What moves labels. Each change is one step for whoever reads, and one at a time for those who write.

use std::path::Path;

use super::{Canary, Labels, Store, StoreError, disk, hidden, name, numbers};
use kiln_inference::model::Model;

impl Store {
    /// A model's labels; none where nobody has given any.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or says what cannot be.
    pub fn labels(&self, model: &str) -> Result<Labels, StoreError> {
        Labels::read(&self.of(model)?)
    }

    /// The version of a model that answers where none is named: the one that was built in where nothing says otherwise.
    ///
    /// # Errors
    ///
    /// See [`Store::labels`] and [`Store::namesake`].
    pub fn stable(&self, model: &Model) -> Result<String, StoreError> {
        let spec = model.spec();
        self.namesake(model)?;
        Ok(self.labels(spec.name)?.stable_or(spec.version).to_string())
    }

    /// Makes `version` the stable one. It is no canary and no shadow any more if it was, and the one before is remembered if it
    /// is still of use.
    ///
    /// # Errors
    ///
    /// There is no such version, its files are damaged or for another graph, it is stable already, or the labels cannot be read
    /// or written.
    pub fn promote(&self, model: &Model, version: &str) -> Result<Labels, StoreError> {
        self.change(model, |labels, built_in| self.make_stable(model, version, labels, built_in))
    }

    /// Makes the version stable that was so before the last promotion. A second time it takes that back.
    ///
    /// # Errors
    ///
    /// There is none, its files are damaged or for another graph, or the labels cannot be read or written.
    pub fn roll_back(&self, model: &Model) -> Result<Labels, StoreError> {
        self.change(model, |labels, built_in| {
            let previous = labels.previous.clone().ok_or(StoreError::NothingBefore)?;
            self.make_stable(model, &previous, labels, built_in)
        })
    }

    fn make_stable(&self, model: &Model, version: &str, labels: &mut Labels, built_in: &str) -> Result<(), StoreError> {
        let before = labels.stable_or(built_in).to_string();
        if before == version {
            return Err(StoreError::Already { version: before });
        }
        self.is_of_use(model, version)?;
        // One that does not do is nothing to go back to, and the one before it may be.
        let previous = [Some(before), labels.previous.take()].into_iter().flatten().filter(|known| known != version);
        labels.previous = previous.into_iter().find(|known| self.is_of_use(model, known).is_ok());
        labels.stable = Some(version.to_string());
        labels.canary = labels.canary.take().filter(|canary| canary.version != version);
        labels.shadow = labels.shadow.take().filter(|shadow| shadow != version);
        Ok(())
    }

    /// Has a version answer a part of the requests that name none, or nobody if there is no canary.
    ///
    /// # Errors
    ///
    /// There is no such version, its files are damaged or for another graph, it is the stable one, or the labels cannot be
    /// read or written.
    pub fn set_canary(&self, model: &Model, canary: Option<Canary>) -> Result<Labels, StoreError> {
        self.change(model, |labels, built_in| {
            if let Some(canary) = &canary {
                self.may_be_tried(model, &canary.version, labels, built_in)?;
            }
            labels.canary = canary;
            Ok(())
        })
    }

    /// Has a version's answers compared with the stable ones, or nobody's.
    ///
    /// # Errors
    ///
    /// There is no such version, its files are damaged or for another graph, it is the stable one, or the labels cannot be read
    /// or written.
    pub fn set_shadow(&self, model: &Model, version: Option<&str>) -> Result<Labels, StoreError> {
        self.change(model, |labels, built_in| {
            version.map_or(Ok(()), |version| self.may_be_tried(model, version, labels, built_in))?;
            labels.shadow = version.map(ToString::to_string);
            Ok(())
        })
    }

    /// Deletes a version.
    ///
    /// # Errors
    ///
    /// It has a label or was built in, there is no such version, or it cannot be deleted.
    pub fn remove(&self, model: &Model, version: &str) -> Result<(), StoreError> {
        self.has(model, version)?;
        let folder = self.of(model.spec().name)?;
        if version == model.spec().version {
            return Err(StoreError::BuiltIn { version: version.to_string() });
        }
        let _lock = disk::lock(&folder)?;
        hidden::sweep(&folder);
        let labels = Labels::read(&folder)?;
        let named = labels.of(version, model.spec().version).first().map(|label| label.as_str());
        let previous = || (labels.previous.as_deref() == Some(version)).then_some("previous");
        match named.or_else(previous) {
            Some(label) => Err(StoreError::Labelled { version: version.to_string(), label }),
            None => {
                numbers::remember(&folder, version)?;
                disk::delete(&folder.join(version))
            }
        }
    }

    fn may_be_tried(&self, model: &Model, version: &str, labels: &Labels, built_in: &str) -> Result<(), StoreError> {
        if labels.stable_or(built_in) == version {
            return Err(StoreError::Already { version: version.to_string() });
        }
        self.is_of_use(model, version)
    }

    /// There is such a version, and its files are what they were when it was added. Reads them all.
    fn is_of_use(&self, model: &Model, version: &str) -> Result<(), StoreError> {
        self.has(model, version)?;
        match self.found_namesake(model)?.filter(|_| version == model.spec().version) {
            Some((namesake, false)) => Err(namesake),
            _ => self.read(model, version).map(drop),
        }
    }

    /// There is such a version.
    fn has(&self, model: &Model, version: &str) -> Result<(), StoreError> {
        name::check("version", version)?;
        let there = |folder: &Path| folder.join(version).join(super::version::MANIFEST).is_file();
        if version == model.spec().version || there(&self.of(model.spec().name)?) {
            return Ok(());
        }
        let known = self.versions(model)?.into_iter().map(|(version, _)| version).collect();
        Err(StoreError::NoSuchVersion { version: version.to_string(), known })
    }

    /// Changes the labels as they are now, while nobody else does.
    fn change(
        &self,
        model: &Model,
        change: impl FnOnce(&mut Labels, &str) -> Result<(), StoreError>,
    ) -> Result<Labels, StoreError> {
        let folder = self.of(model.spec().name)?;
        disk::make(&folder)?;
        let _lock = disk::lock(&folder)?;
        let mut labels = Labels::read(&folder)?;
        change(&mut labels, model.spec().version)?;
        labels.write(&folder)?;
        Ok(labels)
    }
}
