//! The HTTP API: operations, schemas, error codes, the OpenAPI document and the status page.
//!
//! This crate knows operations, schemas, keys and status codes. It knows neither pixels nor batch sizes nor device code.
#![forbid(unsafe_code)]

mod auth;
mod body_limit;
mod cache_headers;
mod client_ip;
mod cors;
mod embed;
mod error;
mod error_mapping;
mod feedback;
mod image_form;
mod management;
mod middleware;
pub mod model_repository;
mod models;
mod open_inference;
mod openapi_errors;
mod pages;
mod predict;
mod request_context;
mod route_table;
mod security_headers;
mod selection;
mod server_timing;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use poem::endpoint::BoxEndpoint;
use poem::{EndpointExt, Response, Route};
use poem_openapi::{OpenApi, OpenApiService};

use body_limit::BodyBudget;
use cors::Cors;
use kiln_classifier::registry::Registry;
use kiln_feedback::FeedbackStore;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::Exporter;
use kiln_server::auth::Authenticator;
use management::{GuardedMetrics, OpenMetrics};
use middleware::MiddlewareState;
use model_repository::RepositoryHandle;
use route_table::RouteTable;

pub use client_ip::{ForwardedHeader, TrustedProxies, UnknownForwardedHeader};
pub use cors::{InvalidOrigin, Origin};
pub use management::{MetricsAccess, metrics_endpoint};

/// Settings of the API.
#[derive(Clone, Debug)]
pub struct Config {
    /// Maximum size of a request body in bytes.
    pub max_body_bytes: usize,
    /// Maximum size of all request bodies in memory together, in bytes.
    pub max_inflight_body_bytes: usize,
    /// Maximum number of files in one `/predict/batch`.
    pub max_batch_files: usize,
    /// Request timeout. An image that waits longer in the queue is not run.
    pub request_timeout: Duration,
    /// Who may read the metrics.
    pub metrics: MetricsAccess,
    /// Proxies whose forwarded client addresses are used.
    pub trusted_proxies: TrustedProxies,
    /// Origins whose pages may read responses, besides the server's own pages. If empty, no other page may.
    pub cors_origins: Vec<Origin>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_body_bytes: 20 << 20,
            max_inflight_body_bytes: 256 << 20,
            max_batch_files: 32,
            request_timeout: Duration::from_secs(30),
            metrics: MetricsAccess::default(),
            trusted_proxies: TrustedProxies::default(),
            cors_origins: Vec::new(),
        }
    }
}

impl Config {
    /// Returns the timeout of a request that asks for `timeout_ms`; at most the server's own.
    fn timeout(&self, timeout_ms: Option<u64>) -> Duration {
        timeout_ms.map_or(self.request_timeout, |ms| self.request_timeout.min(Duration::from_millis(ms)))
    }
}

/// State that the handlers share.
#[derive(Clone, Debug)]
pub struct State {
    /// The models.
    pub registry: Registry,
    /// Whether the server accepts requests.
    pub readiness: Readiness,
    /// Renders `/metrics`; `None` if metrics are disabled.
    pub metrics: Option<Exporter>,
    /// Authenticates callers.
    pub authenticator: Arc<Authenticator>,
    /// The feedback store; `None` if predictions are not recorded.
    pub feedback: Option<FeedbackStore>,
    /// The model repository; `None` without `--models`.
    pub repository: Option<RepositoryHandle>,
    /// Settings of the API.
    pub config: Config,
}

type Operations<M, F> = (
    predict::Predict,
    embed::Embed,
    models::Models,
    management::Health,
    M,
    management::Keys,
    pages::StatusPage,
    F,
    open_inference::Inference,
    open_inference::ModelOperations,
    open_inference::ServerOperations,
    open_inference::RepositoryOperations,
);

fn service<M: OpenApi, F: OpenApi>(state: &State, metrics: M, feedback: F) -> OpenApiService<Operations<M, F>, ()> {
    let operations = (
        predict::Predict(state.clone()),
        embed::Embed(state.clone()),
        models::Models(state.clone()),
        management::Health(state.readiness.clone()),
        metrics,
        management::Keys(Arc::clone(&state.authenticator)),
        pages::StatusPage,
        feedback,
        open_inference::Inference::new(state.clone()),
        open_inference::ModelOperations(state.clone()),
        open_inference::ServerOperations(state.clone()),
        open_inference::RepositoryOperations(state.clone()),
    );
    OpenApiService::new(operations, "Kiln", env!("CARGO_PKG_VERSION")).description(
        "Image classification. Authorize with an API key: a key from the operator, or the key that the server generated at start-up.",
    )
}

/// Returns the endpoint of all paths. Health and documentation need no key, and neither do the metrics if they are open.
pub fn endpoint(state: State) -> BoxEndpoint<'static, Response> {
    match state.feedback.clone() {
        Some(store) => {
            let (registry, timeout) = (state.registry.clone(), state.config.request_timeout);
            with_feedback(&state, feedback::FeedbackOperations { store, registry, timeout })
        }
        None => with_feedback(&state, ()),
    }
}

fn with_feedback<F: OpenApi + 'static>(state: &State, feedback: F) -> BoxEndpoint<'static, Response> {
    match (state.config.metrics, state.metrics.clone()) {
        (MetricsAccess::Open, Some(metrics)) => with_middleware(state, service(state, OpenMetrics(metrics), feedback)),
        (MetricsAccess::Guarded, Some(metrics)) => {
            with_middleware(state, service(state, GuardedMetrics(metrics), feedback))
        }
        (MetricsAccess::Elsewhere | MetricsAccess::Off, _) | (_, None) => {
            with_middleware(state, service(state, (), feedback))
        }
    }
}

fn with_middleware<T: OpenApi + 'static>(
    state: &State,
    service: OpenApiService<T, ()>,
) -> BoxEndpoint<'static, Response> {
    let routes = Arc::new(RouteTable::from_spec(&service.spec()));
    let middleware = Arc::new(MiddlewareState {
        max_body_bytes: state.config.max_body_bytes,
        body_budget: BodyBudget::new(state.config.max_inflight_body_bytes),
        routes: Arc::clone(&routes),
    });
    let cors = Arc::new(Cors { origins: state.config.cors_origins.clone(), routes });
    let preflight = Arc::clone(&cors);
    pages::add_docs(Route::new(), &service)
        .nest("/", service)
        .data(Arc::clone(&state.authenticator))
        .data(Arc::new(state.config.trusted_proxies.clone()))
        .around(move |endpoint, request| cors::preflight(endpoint, request, Arc::clone(&preflight)))
        .around(move |endpoint, request| middleware::run(endpoint, request, Arc::clone(&middleware)))
        .around(move |endpoint, request| cors::add_headers(endpoint, request, Arc::clone(&cors)))
        .around(security_headers::add_headers)
        .boxed()
}
