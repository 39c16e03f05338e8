//! `kiln serve`: listen, load, answer, drain.

use std::sync::Arc;
use std::time::Duration;

use super::load::{self, LoadError};
use super::updates::Updates;
use crate::config::Config;
use kiln_feedback::{self as feedback, OpenError};
use kiln_server::auth::{AuthSetupError, Authenticator, ServerKey};
use kiln_runtime::readiness::{Readiness, ReadinessState};
use kiln_classifier::registry::Registry;
use kiln_runtime::shutdown::{self, ShutdownSignal, Stage};
use kiln_runtime::telemetry::metrics::Exporter;
use kiln_runtime::telemetry::{logging, metrics, traces};
use kiln_api as api;
use kiln_server as serve;

/// How often old samples are taken out of the histograms, as the exporter asks for.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Why the server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Logging.
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    /// Metrics.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// Keys or tokens.
    #[error(transparent)]
    Authenticator(#[from] AuthSetupError),
    /// The socket.
    #[error(transparent)]
    Serve(#[from] serve::ServerError),
    /// The folder of predictions and feedback.
    #[error(transparent)]
    Feedback(#[from] OpenError),
    /// A model or the device.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The device failed and could not be replaced; an orchestrator starts the process anew.
    #[error("stopped because {0}")]
    Device(String),
    /// The operating system.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Serves until a signal. The address is bound first, so that a taken port is told at once; health is served while
/// the models are loaded.
///
/// # Errors
///
/// Anything that keeps the server from starting, or the listener's death.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    let _log_guard = logging::init(&config.logging)?;
    // Dropped before the log, which it may have something to tell.
    let _traces = config.traces.as_ref().map(traces::install);
    let metrics = exporter(&config)?;
    let default = load::default_model(&config);
    let provisioned = ServerKey::provision(&config.keys, config.serve.listen).map_err(AuthSetupError::from)?;
    let authority = authority(&config, &provisioned).await?;
    let server = serve::Server::bind(config.serve, config.tls.clone()).await?;
    let metrics_server = metrics_server(&config).await?;
    let recorded = recorded(&config).await?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    announce(&provisioned, scheme, server.local_addr());
    let readiness = Readiness::starting();
    let signal = shutdown::spawn_controller(config.shutdown, readiness.clone(), shutdown::os_requests()?);
    let registry = Registry::default();
    let state = api::State {
        registry: registry.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        authenticator: Arc::clone(&authority),
        feedback: recorded.clone(),
        config: config.api.clone(),
    };
    tokio::spawn(async move { authority.run_maintenance().await });
    if let Some(recorded) = recorded.clone() {
        tokio::spawn(recorded.run_maintenance());
    }
    if let Some((server, metrics)) = metrics_server.zip(metrics.clone()) {
        tracing::info!(address = %server.local_addr(), "metrics are shown here");
        tokio::spawn(server.run(api::metrics_endpoint(metrics), signal.clone()));
    }
    if let Some(metrics) = metrics {
        tokio::spawn(keep_up(metrics));
    }
    let serving = server.run(api::endpoint(state), signal.clone());
    tokio::pin!(serving);
    let loading = Updates::start(config, default, registry, readiness.clone(), recorded.clone());
    tokio::pin!(loading);
    // A model that does not load ends the process, and the connections with it.
    let mut updates = tokio::select! {
        served = &mut serving => return served.map_err(ServeError::from),
        loaded = &mut loading => loaded?,
    };
    readiness.set_ready();
    tracing::info!("ready");
    let served = tokio::select! {
        served = &mut serving => served,
        never = updates.follow() => match never {},
    };
    finish(updates, recorded, &signal).await;
    match readiness.state() {
        ReadinessState::Failed(reason) => Err(ServeError::Device(reason)),
        _ => Ok(served?),
    }
}

/// What shows the metrics, if anything is to be measured.
fn exporter(config: &Config) -> Result<Option<Exporter>, ServeError> {
    match config.api.metrics {
        api::MetricsAccess::Off => Ok(None),
        _ => Ok(Some(metrics::install()?)),
    }
}

async fn keep_up(metrics: Exporter) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

/// Keys and tokens. A key set may come over the network, by a library that waits.
async fn authority(config: &Config, provisioned: &ServerKey) -> Result<Arc<Authenticator>, AuthSetupError> {
    let (config, own) = (config.keys.clone(), provisioned.key.clone());
    let loading = tokio::task::spawn_blocking(move || Authenticator::load(&config, own.as_ref()));
    loading.await.expect("nothing there panics").map(Arc::new)
}

/// The listener of the metrics, if they have one. Without encryption: it is for addresses that only the operator reaches.
async fn metrics_server(config: &Config) -> Result<Option<serve::Server>, serve::ServerError> {
    match config.metrics_listen {
        Some(listen) => serve::Server::bind(serve::Config { listen, ..config.serve }, None).await.map(Some),
        None => Ok(None),
    }
}

/// Where predictions are recorded, if they are to be.
async fn recorded(config: &Config) -> Result<Option<feedback::FeedbackStore>, OpenError> {
    let Some(config) = config.feedback.clone() else { return Ok(None) };
    let opening = tokio::task::spawn_blocking(move || feedback::FeedbackStore::open(&config));
    opening.await.expect("nothing there panics").map(Some)
}

/// Joins the threads of the engines and of what is recorded, unless a second signal wants the end now.
async fn finish(updates: Updates, recorded: Option<feedback::FeedbackStore>, signal: &ShutdownSignal) {
    let joined = async {
        updates.shut_down().await;
        if let Some(recorded) = recorded {
            recorded.close().await;
        }
    };
    tokio::select! {
        () = joined => tracing::info!("stopped"),
        () = signal.reached(Stage::Ended) => tracing::warn!("stopped before the engine was done"),
    }
}

fn announce(provisioned: &ServerKey, scheme: &str, address: std::net::SocketAddr) {
    tracing::info!(%address, docs = %format!("{scheme}://{address}/docs"), "listening");
    provisioned.announce(scheme, address);
}
