//! Operations for operators and orchestrators: health probes, metrics, and reloading the key file.

use std::sync::Arc;

use poem::{Endpoint, Response, endpoint};
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};

use super::auth::{AdminScope, Authenticated, MetricsScope};
use super::error::{ApiError, ErrorCode};
use super::openapi_errors::{AuthErrors, KeyReloadErrors, OperationError};
use kiln_runtime::readiness::{self, Readiness, TaskFailure};
use kiln_runtime::telemetry::metrics::Exporter;
use kiln_server::auth::Authenticator;

#[derive(Tags)]
enum Tag {
    /// For orchestrators and scrapers.
    Operations,
    /// For operators; requires the scope `admin`.
    Administration,
}

/// `GET /health/*`. These operations need no key.
pub(super) struct Health(pub(super) Readiness);

/// Whether the process is alive.
#[derive(Debug, Object)]
pub(super) struct LiveBody {
    /// Always true: a process that is not alive does not respond.
    pub(super) live: bool,
}

/// Whether the server accepts requests.
#[derive(Debug, Object)]
struct ReadyBody {
    /// True if the server accepts requests.
    ready: bool,
    /// `ready`, `starting`, `recovering`, `draining` or `failed`.
    state: String,
    /// Background tasks that do not run, such as the reloading of keys. The server restarts them, unless its state is `failed`.
    failed_tasks: Vec<FailedTask>,
}

/// A background task that does not run.
#[derive(Debug, Object)]
struct FailedTask {
    /// The name of the task, as in the log.
    name: String,
    /// `panicked`, `failed` or `ended`. The log has the details.
    reason: String,
}

#[derive(ApiResponse)]
enum ReadyResponse {
    /// The server accepts requests
    #[oai(status = 200)]
    Ready(Json<ReadyBody>),
    /// Starting, recovering, draining or failed
    #[oai(status = 503)]
    NotReady(Json<ReadyBody>, #[oai(header = "Retry-After")] u32),
}

#[OpenApi(tag = "Tag::Operations")]
impl Health {
    /// Check whether the process is alive
    #[oai(path = "/health/live", method = "get", operation_id = "live")]
    async fn live(&self) -> Json<LiveBody> {
        Json(LiveBody { live: true })
    }

    /// Check whether the server accepts requests
    #[oai(path = "/health/ready", method = "get", operation_id = "ready")]
    async fn ready(&self) -> ReadyResponse {
        // The details of a failure stay in the log, because this operation needs no key.
        let state = self.0.state();
        let ready = state == readiness::ReadinessState::Ready;
        let task = |(name, failure): (&str, TaskFailure)| FailedTask {
            name: name.to_string(),
            reason: failure.as_str().to_string(),
        };
        let failed_tasks = self.0.failed_tasks().into_iter().map(task).collect();
        let body = Json(ReadyBody { ready, state: state.as_str().to_string(), failed_tasks });
        if ready { ReadyResponse::Ready(body) } else { ReadyResponse::NotReady(body, 1) }
    }
}

/// Who may read the metrics on the API's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Everyone.
    #[default]
    Open,
    /// Callers whose key has the scope `metrics`.
    Guarded,
    /// Nobody: the metrics have a listener of their own.
    Elsewhere,
    /// Nobody: metrics are disabled.
    Off,
}

/// `GET /metrics` without a key.
pub(super) struct OpenMetrics(pub(super) Exporter);

/// `GET /metrics` with a key of the scope `metrics`.
pub(super) struct GuardedMetrics(pub(super) Exporter);

#[OpenApi(tag = "Tag::Operations")]
impl OpenMetrics {
    /// Get the metrics in Prometheus' text format
    #[oai(path = "/metrics", method = "get", operation_id = "metrics")]
    async fn metrics(&self) -> PlainText<String> {
        PlainText(self.0.render().await)
    }
}

#[OpenApi(tag = "Tag::Operations")]
impl GuardedMetrics {
    /// Get the metrics in Prometheus' text format
    ///
    /// Requires the scope `metrics`.
    #[oai(path = "/metrics", method = "get", operation_id = "metrics")]
    async fn metrics(
        &self,
        _caller: Authenticated<MetricsScope>,
    ) -> Result<PlainText<String>, OperationError<AuthErrors>> {
        Ok(PlainText(self.0.render().await))
    }
}

/// Returns an endpoint with only the metrics, for a listener of its own. It needs no key.
pub fn metrics_endpoint(metrics: Exporter) -> impl Endpoint + 'static {
    let page = endpoint::make(move |_| {
        let metrics = metrics.clone();
        async move {
            Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render().await)
        }
    });
    poem::Route::new().at("/metrics", poem::get(page))
}

/// `POST /keys/reload`.
pub(super) struct Keys(pub(super) Arc<Authenticator>);

/// The keys after a reload.
#[derive(Debug, Object)]
struct KeysBody {
    /// Number of keys in the file.
    keys: u64,
}

#[OpenApi(tag = "Tag::Administration")]
impl Keys {
    /// Reload the key file
    ///
    /// The server detects a changed file within three seconds by itself; this operation reports at once whether the file is valid.
    /// Requires the scope `admin`.
    #[oai(path = "/keys/reload", method = "post", operation_id = "reload_keys")]
    async fn reload(
        &self,
        _caller: Authenticated<AdminScope>,
    ) -> Result<Json<KeysBody>, OperationError<KeyReloadErrors>> {
        let authenticator = Arc::clone(&self.0);
        let reloaded =
            tokio::task::spawn_blocking(move || authenticator.reload()).await.map_err(|_| ApiError::internal())?;
        let keys = reloaded.map_err(|error| ApiError::new(ErrorCode::KeyFileRefused, error.to_string()))?;
        Ok(Json(KeysBody { keys: keys as u64 }))
    }
}
