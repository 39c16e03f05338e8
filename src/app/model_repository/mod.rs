//! The models of `--models`: a reconciler that keeps the served models equal to the content of a folder.
//!
//! ```text
//! scanner ── folder: versions and the state of their files ── reconciler ── the next version to load, or to unload
//!                                                                │
//!                              registry ── loaded versions ── version_load: open, start engines, warm up
//! ```
//!
//! A version is loaded and warm before the version that it replaces is unloaded. If a version cannot be loaded, the
//! served versions stay.

mod reconciler;
mod scanner;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;
mod version_load;
mod waiting_clients;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_api::model_repository::{RepositoryAction, RepositoryCommand, RepositoryError, RepositoryTask};
use kiln_classifier::registry::Versions;
use kiln_inference::Step;
use kiln_inference::model_file::FileOptions;
use kiln_runtime::blocking::resume_panic;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::{self, ReloadOutcome};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::MissedTickBehavior;

use super::load::{self, LoadError, ModelLoader};
use super::model_reload::LoadedVersion;
use super::served_models::ServedModels;
use reconciler::{PlannedLoad, Reconciler};
use scanner::{Scan, Scanner};
use snapshot::VersionKey;
use version_load::{LoadOutcome, load_version};
pub(super) use version_load::{OpenedVersions, open_versions};
use waiting_clients::WaitingClients;

/// Maximum time until the next scan of files that have just been modified, at the start and for a command.
const NEXT_LOOK: Duration = Duration::from_secs(1);

/// Maximum time that the start waits for files that still change, if there is nothing to serve.
const MAX_COPY_TIME: Duration = Duration::from_secs(600);

/// What a repository needs from the rest of the server.
pub(super) struct RepositorySetup {
    pub(super) loader: ModelLoader,
    pub(super) options: FileOptions,
    pub(super) poll_interval: Duration,
    /// Names of models that are not of the repository.
    pub(super) reserved: BTreeSet<String>,
    pub(super) served: ServedModels,
    pub(super) readiness: Readiness,
    pub(super) task: RepositoryTask,
}

/// Returns the time until the next scan of files that still change.
fn next_look_after(setup: &RepositorySetup) -> Duration {
    setup.poll_interval.min(NEXT_LOOK)
}

/// The models of a repository. [`Self::run`] keeps them current; [`Self::shut_down`] stops them.
pub(super) struct ModelRepository {
    setup: RepositorySetup,
    folder: PathBuf,
    scanner: Arc<Mutex<Scanner>>,
    reconciler: Reconciler<LoadedVersion>,
    /// The load in progress, at most one: each load uses all processors.
    loading: JoinSet<(PlannedLoad, Result<LoadOutcome, LoadError>)>,
    loading_key: Option<VersionKey>,
    waiting: WaitingClients,
    /// When the models of waiting clients are scanned again, if their files may still change.
    next_look: tokio::time::Instant,
    /// Replaced versions, which the registry still has.
    replaced: Vec<LoadedVersion>,
    /// Unloaded versions that still answer requests.
    retiring: JoinSet<()>,
    /// The stable version of each served model.
    stable: BTreeMap<String, u64>,
    progress: fn(Step),
    scan_error: Option<String>,
}

impl ModelRepository {
    /// Loads all versions in `folder`. Errors are logged. If there is no other model, it waits for files that are being
    /// copied, until a version is loaded.
    ///
    /// # Errors
    ///
    /// The folder cannot be read; or no version can be loaded, and there is no other model.
    pub(super) async fn start(folder: &Path, setup: RepositorySetup) -> Result<Self, LoadError> {
        let started = Instant::now();
        let has_other_models = !setup.reserved.is_empty();
        let mut repository = Self {
            folder: folder.to_path_buf(),
            scanner: Arc::new(Mutex::new(Scanner::new(folder.to_path_buf(), next_look_after(&setup) / 2))),
            reconciler: Reconciler::new(setup.reserved.clone()),
            loading: JoinSet::new(),
            loading_key: None,
            waiting: WaitingClients::default(),
            next_look: tokio::time::Instant::now(),
            replaced: Vec::new(),
            retiring: JoinSet::new(),
            stable: BTreeMap::new(),
            progress: load::record_startup_phase,
            scan_error: None,
            setup,
        };
        let unreadable = |reason| LoadError::RepositoryFile { path: folder.to_path_buf(), reason };
        let mut is_settled = repository.scan().await.map_err(unreadable)?;
        if !is_settled {
            tokio::time::sleep(next_look_after(&repository.setup)).await;
            is_settled = repository.scan().await.map_err(unreadable)?;
        }
        repository.load_pending().await;
        let is_in_time = || started.elapsed() < MAX_COPY_TIME;
        while repository.reconciler.loaded().next().is_none() && !has_other_models && !is_settled && is_in_time() {
            tracing::info!(folder = %folder.display(), "waiting for files of the model repository that still change");
            while !is_settled && repository.reconciler.next_load().is_none() && is_in_time() {
                tokio::time::sleep(next_look_after(&repository.setup)).await;
                is_settled = repository.scan().await.map_err(unreadable)?;
            }
            repository.load_pending().await;
        }
        if repository.reconciler.loaded().next().is_none() && !has_other_models {
            let reasons = status::reasons(status::status(&repository.reconciler, folder));
            return Err(LoadError::Repository { folder: folder.to_path_buf(), reasons });
        }
        metrics::startup_phase("total", started.elapsed());
        repository.progress = |_| ();
        repository.reconcile();
        for (model, version) in &repository.stable {
            metrics::build_info(model, &version.to_string());
        }
        Ok(repository)
    }

    /// Follows the folder and executes commands until it is dropped.
    pub(super) async fn run(&mut self) -> std::convert::Infallible {
        tracing::info!(interval = ?self.setup.poll_interval, "following the model repository");
        let mut ticks = tokio::time::interval(self.setup.poll_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.reconcile();
            self.start_next_load();
            self.publish_status();
            self.answer_waiting();
            tokio::select! {
                _ = ticks.tick() => self.rescan().await,
                () = tokio::time::sleep_until(self.next_look), if self.waiting.has_unsettled() => {
                    self.look_at_awaited_models().await;
                }
                Some(command) = self.setup.task.commands.recv() => self.execute(command).await,
                Some(loaded) = self.loading.join_next() => {
                    let (planned, outcome) = resume_panic(loaded);
                    self.finish_load(planned, outcome);
                }
            }
            while self.retiring.try_join_next().is_some() {}
        }
    }

    /// Loads what is desired, one version after the other.
    async fn load_pending(&mut self) {
        self.start_next_load();
        while let Some(loaded) = self.loading.join_next().await {
            let (planned, outcome) = resume_panic(loaded);
            self.finish_load(planned, outcome);
            self.start_next_load();
        }
    }

    /// Scans the folder and logs an error once. The state stays as it was.
    async fn rescan(&mut self) {
        let error = self.scan().await.err().map(|error| error.to_string());
        if let Some(error) = error.as_ref().filter(|error| self.scan_error.as_ref() != Some(error)) {
            tracing::error!(%error, "cannot read the model repository; serving the previous models");
        }
        self.scan_error = error;
    }

    /// Scans the folder on a blocking thread. Returns whether all files are the same as in the previous scan.
    async fn scan(&mut self) -> std::io::Result<bool> {
        self.scan_with(|scanner, now| scanner.scan(now).map(|scan| (scan.is_settled(), scan))).await
    }

    /// Scans the folder of one model. Returns whether its files are the same as in the previous scan.
    async fn scan_model(&mut self, model: &str) -> std::io::Result<bool> {
        let model = model.to_string();
        self.scan_with(move |scanner, now| scanner.scan_model(&model, now)).await
    }

    async fn scan_with(
        &mut self,
        scan: impl FnOnce(&mut Scanner, tokio::time::Instant) -> std::io::Result<(bool, Scan)> + Send + 'static,
    ) -> std::io::Result<bool> {
        let (scanner, now) = (Arc::clone(&self.scanner), tokio::time::Instant::now());
        let scan = move || scan(&mut scanner.lock().unwrap_or_else(PoisonError::into_inner), now);
        let (is_settled, scan) = spawn_blocking(scan).await.expect("blocking task panicked")?;
        for folder in self.reconciler.observe(scan) {
            tracing::warn!(folder = %folder.path.display(), reason = folder.reason, "folder has no model");
        }
        Ok(is_settled)
    }

    async fn execute(&mut self, RepositoryCommand { action, model, reply }: RepositoryCommand) {
        tracing::info!(%model, ?action, "model repository command");
        match action {
            RepositoryAction::Load => {
                self.waiting.add(model, reply);
                self.look_at_awaited_models().await;
            }
            RepositoryAction::Unload => {
                let is_known = self.reconciler.unload(&model);
                self.reconcile();
                self.publish_status();
                // The client may have disconnected.
                let _ = reply.send(if is_known { Ok(()) } else { Err(RepositoryError::UnknownModel(model)) });
            }
        }
    }

    /// Scans the folders of the models that clients wait for and whose files may still change. A model whose files do not
    /// change any more is loaded.
    async fn look_at_awaited_models(&mut self) {
        self.next_look = tokio::time::Instant::now() + next_look_after(&self.setup);
        for model in self.waiting.unsettled_models() {
            match self.scan_model(&model).await {
                Ok(false) => {}
                Ok(true) if self.reconciler.retry(&model) => self.waiting.settle(&model),
                Ok(true) => self.waiting.refuse(&RepositoryError::UnknownModel(model.clone()), &model),
                Err(error) => {
                    let reason = format!("the model repository cannot be read: {error}");
                    self.waiting.refuse(&RepositoryError::NotLoaded { model: model.clone(), reason }, &model);
                }
            }
        }
    }

    /// Answers the clients whose models no longer wait to be loaded.
    fn answer_waiting(&mut self) {
        let Self { waiting, reconciler, loading_key, folder, .. } = self;
        let loading = loading_key.as_ref().map(|key| key.model.as_str());
        waiting.answer_settled(|model| {
            let is_complete = loading != Some(model) && !reconciler.is_pending(model);
            let result = || match reconciler.error(model) {
                Some(reason) => {
                    let (model, reason) = (model.to_string(), status::without_root(reason, folder));
                    Err(RepositoryError::NotLoaded { model, reason })
                }
                None => Ok(()),
            };
            is_complete.then(result)
        });
    }

    fn start_next_load(&mut self) {
        let Some(planned) = self.reconciler.next_load().filter(|_| self.loading.is_empty()) else { return };
        let (loader, options, progress) = (self.setup.loader.clone(), self.setup.options.clone(), self.progress);
        self.loading_key = Some(planned.key.clone());
        self.loading.spawn(async move {
            let outcome = load_version(loader, options, planned.clone(), progress).await;
            (planned, outcome)
        });
    }

    fn finish_load(&mut self, planned: PlannedLoad, outcome: Result<LoadOutcome, LoadError>) {
        self.loading_key = None;
        let (model, version) = (planned.key.model.clone(), planned.key.version());
        match outcome.and_then(|outcome| self.start_batcher(outcome)) {
            Ok(Some((digest, loaded))) => {
                self.replaced.extend(self.reconciler.add(planned, digest, loaded));
                self.publish();
            }
            Ok(None) => {
                tracing::info!(%model, version, "the files of the version changed, but not their content");
                self.reconciler.keep(planned);
            }
            Err(error) => {
                let (file, reason) = (planned.files.onnx.display().to_string(), error.to_string());
                tracing::error!(%model, version, file, reason, "cannot load model version; serving the previous versions");
                metrics::model_reload(&model, ReloadOutcome::Refused);
                self.reconciler.reject(planned, reason);
            }
        }
    }

    /// Starts the batcher of a version whose engines run. Returns the version with the digest of its files, or nothing
    /// if their content did not change.
    fn start_batcher(&self, outcome: LoadOutcome) -> Result<Option<(String, LoadedVersion)>, LoadError> {
        let LoadOutcome::Started { digest, started } = outcome else { return Ok(None) };
        let loaded = LoadedVersion::of_repository(&self.setup.loader, started, self.setup.readiness.clone())?;
        Ok(Some((digest, loaded)))
    }

    /// Unloads what no longer serves.
    fn reconcile(&mut self) {
        let unused = self.reconciler.take_unused();
        if !unused.is_empty() {
            self.publish();
        }
        unused.into_iter().for_each(|version| self.retire(version));
    }

    fn retire(&mut self, version: LoadedVersion) {
        self.retiring.spawn(version.retire(self.setup.loader.clone()));
    }

    /// Passes the loaded versions to the registry: from now on requests use them. Retires those that they replace.
    fn publish(&mut self) {
        let mut models: Vec<Versions> = Vec::new();
        let mut stable = BTreeMap::new();
        for (key, loaded) in self.reconciler.loaded() {
            let is_stable = !stable.contains_key(&key.model);
            loaded.set_stable(is_stable);
            let classifier = Arc::clone(&loaded.classifier);
            match models.last_mut().filter(|_| !is_stable) {
                Some(model) => model.others.push(classifier),
                None => {
                    stable.insert(key.model.clone(), key.version());
                    models.push(Versions::stable_only(classifier));
                }
            }
        }
        self.setup.served.set_repository(models);
        let names = self.replaced.iter().map(|replaced| replaced.classifier.model());
        let replaced = names.map(|model| (model.name().to_string(), model.version().to_string())).collect();
        status::report_changes(&self.stable, &stable, &replaced);
        self.stable = stable;
        std::mem::take(&mut self.replaced).into_iter().for_each(|version| self.retire(version));
    }

    /// Publishes the state of each version for the operations of the API.
    fn publish_status(&self) {
        let status = status::status(&self.reconciler, &self.folder);
        metrics::model_load_errors(status.iter().filter(|status| status.load_error.is_some()).count());
        self.setup.task.status.send_replace(status.into());
    }

    /// Answers the accepted requests and stops all engines.
    pub(super) async fn shut_down(mut self) {
        for version in self.reconciler.into_loaded().chain(self.replaced) {
            version.shut_down().await;
        }
        while self.retiring.join_next().await.is_some() {}
    }
}
