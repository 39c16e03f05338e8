//! `kiln serve`: listens, loads the models, answers requests, and drains at shutdown.

use std::sync::Arc;

use kiln_api::MetricsAccess;
use kiln_api::model_repository::{RepositoryTask, repository_channel};
use kiln_classifier::registry::Registry;
use kiln_feedback::{FeedbackStore, OpenError};
use kiln_inference::model::Task;
use kiln_runtime::readiness::{Readiness, ReadinessState};
use kiln_runtime::shutdown::{self, ShutdownSignal, Stage};
use kiln_runtime::supervisor::{Supervisor, TaskResult};
use kiln_runtime::telemetry::metrics::Exporter;
use kiln_runtime::telemetry::{logging, metrics, traces};
use kiln_server::auth::{AuthSetupError, Authenticator, ServerKey};
use kiln_server::{Server, ServerError};

use super::background_tasks::{supervise_maintenance, supervise_metrics_server};
use super::error_output::print_error;
use super::load::{self, LoadError};
use super::model_reload::ModelReloader;
use super::model_repository::{ModelRepository, RepositorySetup};
use super::served_models::ServedModels;
use super::start::init_logging;
use crate::config::Config;

/// The error of [`serve`]: the server did not start, or it stopped without a signal.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Logging cannot start.
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    /// Metrics cannot start.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The keys or the token settings are invalid.
    #[error(transparent)]
    Authenticator(#[from] AuthSetupError),
    /// The listening socket failed.
    #[error(transparent)]
    Serve(#[from] ServerError),
    /// The folder of predictions and feedback cannot be opened.
    #[error(transparent)]
    Feedback(#[from] OpenError),
    /// A model or the device cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The device failed and could not be replaced, or a required background task failed. An orchestrator restarts the process.
    #[error("stopped because {0}")]
    Failed(String),
    /// The operating system refuses the signal handlers.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Serves until a signal. The address is bound first, so that a port in use is reported at once; the health endpoints
/// answer while the models are loaded.
///
/// # Errors
///
/// Returns an error if the server does not start, if its listener fails, if the device fails and cannot be replaced, or if a
/// background task fails without which the server cannot run.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    let _log_guard = init_logging(&config)?;
    // Dropped before the log guard, since the last export may log an error.
    let _traces = config.traces.as_ref().map(traces::install);
    let metrics = exporter(&config)?;
    let server_key = ServerKey::provision(&config.auth, config.server.listen).map_err(AuthSetupError::from)?;
    let authenticator = load_authenticator(&config, &server_key).await?;
    let server = Server::bind(config.server, config.tls.clone()).await?;
    let metrics_server = bind_metrics_server(&config).await?;
    let feedback = open_feedback_store(&config).await?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let address = server.local_addr();
    tracing::info!(%address, docs = %format!("{scheme}://{address}/docs"), "listening");
    server_key.log_location();
    let readiness = Readiness::starting();
    let (requests, listen_for_signals) = shutdown::os_requests()?;
    let (signal, controller) = shutdown::controller(config.shutdown, readiness.clone(), requests);
    let mut supervisor = Supervisor::new(readiness.clone(), signal.clone());
    supervisor.spawn_required("signal handler", listen_for_signals);
    supervisor.spawn_required("shutdown controller", controller);
    let registry = Registry::default();
    let (repository, repository_task) = config.model_repository.as_ref().map(|_| repository_channel()).unzip();
    let state = kiln_api::State {
        registry: registry.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        authenticator: Arc::clone(&authenticator),
        feedback: feedback.clone(),
        repository,
        config: config.api.clone(),
    };
    if let Some((server, metrics)) = metrics_server.zip(metrics.clone()) {
        supervise_metrics_server(&mut supervisor, server, config.server, metrics, &signal);
    }
    supervise_maintenance(&mut supervisor, authenticator, config.tls.clone(), feedback.clone(), metrics);
    let mut following = supervisor.restarts("model following");
    let serving = server.run(kiln_api::endpoint(state), signal.clone());
    tokio::pin!(serving);
    let loading = load_models(config, registry.clone(), readiness.clone(), feedback.clone(), repository_task);
    tokio::pin!(loading);
    // If a model cannot be loaded, the process exits and closes its connections.
    let mut models = tokio::select! {
        served = &mut serving => return outcome(served, &readiness),
        loaded = &mut loading => loaded?,
    };
    readiness.set_ready();
    tracing::info!("ready");
    let url = format!("{scheme}://{}", kiln_server::connectable_address(address));
    let path = load::raw_path(
        registry.find(None, None).map_or(Task::SingleLabel, |classifier| classifier.model().spec().task),
    );
    if let Some(welcome) = server_key.welcome(&url, path) {
        print_error(welcome);
    }
    let served = tokio::select! {
        served = &mut serving => served,
        // Without it the served models stay as they are until the shutdown.
        () = async { while following.run(models.run()).await {} } => serving.await,
    };
    finish(models, feedback, &signal).await;
    outcome(served, &readiness)
}

/// Returns why the server stopped: a failure, an error of the listener, or a signal.
fn outcome(served: Result<(), ServerError>, readiness: &Readiness) -> Result<(), ServeError> {
    match readiness.state() {
        ReadinessState::Failed(reason) => Err(ServeError::Failed(reason)),
        _ => Ok(served?),
    }
}

/// All models: those that are fixed at start, and those of the model repository.
struct Models {
    fixed: ModelReloader,
    repository: Option<ModelRepository>,
}

/// Loads all models and opens the registry.
async fn load_models(
    config: Config,
    registry: Registry,
    readiness: Readiness,
    feedback: Option<FeedbackStore>,
    task: Option<RepositoryTask>,
) -> Result<Models, LoadError> {
    let served = ServedModels::new(registry);
    let (folder, poll_interval) = (config.model_repository.clone(), config.model_poll_interval);
    let options = config.model_file_options.clone();
    let fixed = ModelReloader::start(config, served.clone(), readiness.clone(), feedback).await?;
    let repository = match folder.zip(task) {
        Some((folder, task)) => {
            let (loader, served) = (fixed.loader().clone(), served.clone());
            let reserved = fixed.model_names().map(String::from).collect();
            let setup = RepositorySetup { loader, options, poll_interval, reserved, served, readiness, task };
            Some(ModelRepository::start(&folder, setup).await?)
        }
        None => None,
    };
    served.open();
    Ok(Models { fixed, repository })
}

impl Models {
    /// Keeps the models current until it is dropped. Never returns.
    async fn run(&mut self) -> TaskResult {
        match self.follow().await {}
    }

    async fn follow(&mut self) -> std::convert::Infallible {
        match &mut self.repository {
            Some(repository) => tokio::select! {
                never = self.fixed.run() => never,
                never = repository.run() => never,
            },
            None => self.fixed.run().await,
        }
    }

    /// Answers the accepted requests and stops all engines.
    async fn shut_down(self) {
        if let Some(repository) = self.repository {
            repository.shut_down().await;
        }
        self.fixed.shut_down().await;
    }
}

/// Installs the metrics recorder, unless metrics are disabled.
fn exporter(config: &Config) -> Result<Option<Exporter>, ServeError> {
    match config.api.metrics {
        MetricsAccess::Off => Ok(None),
        _ => Ok(Some(metrics::install()?)),
    }
}

/// Loads keys and token settings on a blocking thread: the HTTP client that fetches a key set blocks.
async fn load_authenticator(config: &Config, server_key: &ServerKey) -> Result<Arc<Authenticator>, AuthSetupError> {
    let (auth, key) = (config.auth.clone(), server_key.key.clone());
    let loading = tokio::task::spawn_blocking(move || Authenticator::load(&auth, key.as_ref()));
    loading.await.expect("blocking task panicked").map(Arc::new)
}

/// Binds the listener of the metrics, if they have one. It has no TLS: its address is for the operator's network only.
async fn bind_metrics_server(config: &Config) -> Result<Option<Server>, ServerError> {
    match config.metrics_listen {
        Some(listen) => Server::bind(kiln_server::Config { listen, ..config.server }, None).await.map(Some),
        None => Ok(None),
    }
}

/// Opens the store of predictions and feedback, if recording is enabled.
async fn open_feedback_store(config: &Config) -> Result<Option<FeedbackStore>, OpenError> {
    let Some(config) = config.feedback.clone() else { return Ok(None) };
    let opening = tokio::task::spawn_blocking(move || FeedbackStore::open(&config));
    opening.await.expect("blocking task panicked").map(Some)
}

/// Joins the threads of the engines and of the feedback store. A second signal ends the wait.
async fn finish(models: Models, feedback: Option<FeedbackStore>, signal: &ShutdownSignal) {
    let joined = async {
        models.shut_down().await;
        if let Some(feedback) = feedback {
            feedback.close().await;
        }
    };
    tokio::select! {
        () = joined => tracing::info!("stopped"),
        () = signal.reached(Stage::Ended) => tracing::warn!("stopped before the engines finished"),
    }
}
