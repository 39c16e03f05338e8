//! Model reload: a reconciler that keeps the served versions equal to the versions that the labels in the store name.
//!
//! It observes the store ([`StoreSnapshot`]), derives the desired state ([`desired_state::DesiredState`]), loads
//! missing versions, and replaces the actual state between two requests ([`ActiveModel::reconcile`]). If a version
//! cannot be loaded, the served versions stay.

mod active_model;
mod desired_state;
mod loaded_version;
#[cfg(test)]
mod tests;

use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, spawn_blocking};

use super::load::{self, LoadError, ModelLoader, join};
use super::served_models::ServedModels;
use crate::config::Config;
use crate::model_store::ModelStore;
use active_model::ActiveModel;
use desired_state::{DesiredVersion, StoreSnapshot};
use kiln_feedback::FeedbackStore;
use kiln_inference::model::Model;
use kiln_runtime::blocking::resume_panic;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::{self, ReloadOutcome};
pub(super) use loaded_version::{LoadedVersion, StartedVersion};
use loaded_version::{VersionFailure, start_version};

/// All loaded versions of all models. [`Self::run`] keeps them current while the server runs; [`Self::shut_down`] stops
/// them.
pub(super) struct ModelReloader {
    loader: ModelLoader,
    store: Option<ModelStore>,
    served: ServedModels,
    readiness: Readiness,
    models: Vec<ActiveModel>,
    next_id: u64,
    failures: (UnboundedSender<VersionFailure>, UnboundedReceiver<VersionFailure>),
    /// The load in progress, at most one, with the index of its model and the desired version at its start.
    loading: JoinSet<(usize, DesiredVersion, Result<StartedVersion, LoadError>)>,
    /// Replaced versions that still answer requests.
    retiring: JoinSet<()>,
}

impl ModelReloader {
    /// Loads the stable version of each model that is not of the model repository.
    ///
    /// # Errors
    ///
    /// A device or a stable version is not available. There is no fallback, because it would serve another version
    /// silently.
    pub(super) async fn start(
        config: Config,
        served: ServedModels,
        readiness: Readiness,
        feedback: Option<FeedbackStore>,
    ) -> Result<Self, LoadError> {
        let started = Instant::now();
        let store = load::store(&config).ok();
        let opened = store.clone();
        let open = move || {
            if let Some(empty) = opened.as_ref().and_then(load::empty_store) {
                tracing::warn!("{}; no version of it is served. Next: '{}'", empty.reason, empty.next);
            }
            let mut models = load::models(&config)?;
            let default_model = match config.model_repository.is_some() {
                true => config.model.clone().or_else(|| Some(models.first()?.name().to_string())),
                false => Some(load::default_model(&config, &models).name().to_string()),
            };
            models.sort_by(|one, other| one.name().cmp(other.name()));
            Ok((models, default_model, ModelLoader::open(&config, feedback)?))
        };
        let (models, default_model, loader) = join(spawn_blocking(open).await)?;
        let mut reloader = Self {
            loader,
            store,
            served,
            readiness,
            models: Vec::new(),
            next_id: 0,
            failures: unbounded_channel(),
            loading: JoinSet::new(),
            retiring: JoinSet::new(),
        };
        for model in models {
            let stable = reloader.load_stable(&model).await?;
            metrics::build_info(model.name(), model.original_version());
            reloader.models.push(ActiveModel::new(model, stable));
        }
        metrics::startup_phase("total", started.elapsed());
        reloader.served.set_default(default_model);
        reloader.publish();
        Ok(reloader)
    }

    async fn load_stable(&mut self, model: &Model) -> Result<LoadedVersion, LoadError> {
        // A model that was read from a file has one version.
        let store = self.store.clone().filter(|_| model.is_built_in());
        let built_in = model.original_version();
        if let Some(conflict) = store.as_ref().map_or(Ok(None), |store| store.built_in_conflict(model))? {
            tracing::warn!(model = model.name(), reason = %conflict, "store has a version that is not served");
        }
        let version = match &store {
            Some(store) => store.stable(model)?,
            None => built_in.to_string(),
        };
        let progress = load::record_startup_phase;
        let started = start_version(&self.loader, store.as_ref(), model, &version, progress).await;
        let started = started.map_err(|error| match &store {
            Some(store) if version != built_in => {
                load::unusable_stable_version(model, &version, &error, store.folder())
            }
            _ => error,
        })?;
        let id = self.new_id();
        LoadedVersion::required(&self.loader, id, started, self.readiness.clone())
    }

    /// Reconciles until it is dropped. Without a store it waits forever. Three events can happen at any time, and none
    /// blocks another: the store changes, a version fails, a load ends.
    pub(super) async fn run(&mut self) -> std::convert::Infallible {
        let Some(store) = self.store.clone() else { return std::future::pending().await };
        tracing::info!(folder = %store.folder().display(), "watching the model store");
        let mut snapshot = self.observe(&store).await;
        loop {
            self.reconcile();
            self.start_next_load(&store);
            tokio::select! {
                () = snapshot.changed() => snapshot = self.observe(&store).await,
                Some((id, reason)) = self.failures.1.recv() => self.withdraw(id, &reason),
                Some(loaded) = self.loading.join_next() => {
                    let (index, desired, outcome) = resume_panic(loaded);
                    match outcome.and_then(|started| self.add(index, &desired, started)) {
                        Ok(()) => {
                            // The labels may have changed during the load. Without a new snapshot, a version without a
                            // label would serve until the watcher sees the change, up to a second later.
                            snapshot = self.observe(&store).await;
                        }
                        Err(error) => self.reject(index, desired, &error),
                    }
                }
            }
            while self.retiring.try_join_next().is_some() {}
        }
    }

    /// Reads the desired state from the store. A model whose labels cannot be read keeps its previous desired state.
    async fn observe(&mut self, store: &ModelStore) -> StoreSnapshot {
        let models = self.models.iter().map(|active| active.model.clone()).collect();
        let mut snapshot = StoreSnapshot::read(store, models).await;
        for (active, desired) in self.models.iter_mut().zip(&mut snapshot.desired) {
            if let Some(desired) = desired.take() {
                active.set_desired(desired);
            }
        }
        snapshot
    }

    /// Replaces served versions by desired ones, as far as those are loaded.
    fn reconcile(&mut self) {
        let replaced: Vec<Vec<LoadedVersion>> = self.models.iter_mut().filter_map(ActiveModel::reconcile).collect();
        if replaced.is_empty() {
            return;
        }
        self.publish();
        replaced.into_iter().flatten().for_each(|version| self.retire(version));
    }

    /// Starts to load the next missing version, unless a load is in progress: each load uses all processors.
    fn start_next_load(&mut self, store: &ModelStore) {
        let models = self.models.iter().enumerate();
        let mut missing = models.filter_map(|(index, active)| Some((index, active.next_to_load()?)));
        let Some((index, desired)) = missing.next().filter(|_| self.loading.is_empty()) else { return };
        drop(missing);
        let (loader, store, model) = (self.loader.clone(), store.clone(), self.models[index].model.clone());
        self.loading.spawn(async move {
            let outcome = start_version(&loader, Some(&store), &model, &desired.spec.version, |_| ()).await;
            (index, desired, outcome)
        });
    }

    fn add(&mut self, index: usize, desired: &DesiredVersion, started: StartedVersion) -> Result<(), LoadError> {
        let id = self.new_id();
        let version = match desired.spec.is_optional {
            true => LoadedVersion::optional(&self.loader, id, started, &self.readiness, self.failures.0.clone())?,
            false => LoadedVersion::required(&self.loader, id, started, self.readiness.clone())?,
        };
        self.models[index].add(version);
        Ok(())
    }

    fn reject(&mut self, index: usize, desired: DesiredVersion, error: &LoadError) {
        let active = &mut self.models[index];
        let (model, version) = (active.model.name(), &desired.spec.version);
        tracing::error!(model, %version, reason = %error, "cannot load model version; serving the previous versions");
        metrics::model_reload(model, ReloadOutcome::Refused);
        active.reject(desired);
    }

    fn withdraw(&mut self, id: u64, reason: &str) {
        let withdraw = |active: &mut ActiveModel| Some((active.withdraw(id)?, active.model.name().to_string()));
        // The version may have been replaced since it failed.
        let Some((version, model)) = self.models.iter_mut().find_map(withdraw) else { return };
        let name = version.spec.version.clone();
        tracing::error!(%model, version = %name, reason, "model version failed; the stable version keeps serving");
        metrics::model_reload(&model, ReloadOutcome::Withdrawn);
        self.publish();
        self.retire(version);
    }

    fn retire(&mut self, version: LoadedVersion) {
        self.retiring.spawn(version.retire(self.loader.clone()));
    }

    /// Passes the actual state to the registry: from now on requests use it.
    fn publish(&self) {
        self.served.set_fixed(self.models.iter().map(ActiveModel::versions).collect());
    }

    /// Returns the open devices and what all models share.
    pub(super) fn loader(&self) -> &ModelLoader {
        &self.loader
    }

    /// Returns the names of the models.
    pub(super) fn model_names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|active| active.model.name())
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Answers the accepted requests and stops all engines.
    pub(super) async fn shut_down(mut self) {
        for version in self.models.into_iter().flat_map(ActiveModel::into_loaded) {
            version.shut_down().await;
        }
        while self.retiring.join_next().await.is_some() {}
    }
}
