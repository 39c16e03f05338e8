//! The HTTP interface: typed handlers, and the OpenAPI document that they produce.
//!
//! It knows operations, schemas, keys and status codes. It knows neither pixels, nor batch sizes, nor devices' code.
//!
//! | file | responsibility |
//! |---|---|
//! | `predict/`, `models/`, `feedback/`, `health.rs`, `metrics.rs`, `key_file.rs` | the operations, and the JSON of their answers |
//! | `protocol/` | the operations of the Open Inference Protocol |
//! | `home.rs`, `home/` | the page that shows how the server is and classifies a picture |
//! | `pages.rs` | Swagger UI and the OpenAPI document |
//! | `upload/` | pictures as they arrive |
//! | `caller.rs`, `peer.rs` | who is calling, and from where |
//! | `error.rs`, `failure.rs` | the one status table; which error is which of its rows |
//! | `refused.rs`, `error_answer.rs` | that table in the OpenAPI document, and in answers |
//! | `request.rs`, `notes.rs` | what happens to every request, and what is known of it |
//! | `body_limit.rs`, `allow.rs`, `server_timing.rs`, `cache_status.rs` | its helpers |
//! | `security_headers.rs`, `page_policy.rs`, `cors.rs` | what browsers may do with the answers |
#![forbid(unsafe_code)]

mod allow;
mod body_limit;
mod cache_status;
mod caller;
mod cors;
mod error;
mod error_answer;
mod failure;
mod feedback;
mod health;
mod home;
mod key_file;
mod metrics;
mod models;
mod notes;
mod page_policy;
mod pages;
mod peer;
mod predict;
mod protocol;
mod refused;
mod request;
mod security_headers;
mod server_timing;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use poem::endpoint::BoxEndpoint;
use poem::{EndpointExt, Response, Route};
use poem_openapi::{OpenApi, OpenApiService};

use kiln_feedback::Store;
use kiln_server::auth::Authenticator;
use kiln_runtime::readiness::Readiness;
use kiln_classifier::registry::Registry;
use kiln_runtime::telemetry::metrics::Exporter;
use allow::AllowTable;
use body_limit::Budget;
use cors::Cors;
use metrics::{GuardedMetrics, OpenMetrics};
use request::Surroundings;

pub use cors::{NotAnOrigin, Origin};
pub use metrics::{MetricsAccess, metrics_endpoint};
pub use peer::{ForwardedHeader, Peers};

/// The interface's own settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Bytes of all bodies together that are held at once.
    pub max_inflight_body_bytes: usize,
    /// The most files in one `/predict/batch`.
    pub max_batch_files: usize,
    /// How long an answer is worth waiting for; a picture that waits longer is not run.
    pub request_timeout: Duration,
    /// Who may read the metrics.
    pub metrics: MetricsAccess,
    /// Which proxies are believed.
    pub peers: Peers,
    /// Whose pages may read the answers besides our own; nobody's where empty.
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
            peers: Peers::default(),
            cors_origins: Vec::new(),
        }
    }
}

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct State {
    /// The models.
    pub registry: Registry,
    /// Whether traffic is welcome.
    pub readiness: Readiness,
    /// Renders `/metrics`, if anything is measured.
    pub metrics: Option<Exporter>,
    /// Who may call.
    pub authority: Arc<Authenticator>,
    /// What is recorded, if anything is.
    pub feedback: Option<Store>,
    /// The interface's own settings.
    pub config: Config,
}

type Operations<M, F> = (
    predict::Predict,
    models::Models,
    health::Health,
    M,
    key_file::Keys,
    home::Home,
    F,
    protocol::Inference,
    protocol::ModelOperations,
    protocol::ServerOperations,
);

fn service<M: OpenApi, F: OpenApi>(state: &State, metrics: M, feedback: F) -> OpenApiService<Operations<M, F>, ()> {
    let operations = (
        predict::Predict(state.clone()),
        models::Models(state.clone()),
        health::Health(state.clone()),
        metrics,
        key_file::Keys(Arc::clone(&state.authority)),
        home::Home,
        feedback,
        protocol::Inference::new(state.clone()),
        protocol::ModelOperations(state.clone()),
        protocol::ServerOperations(state.clone()),
    );
    OpenApiService::new(operations, "Kiln", env!("CARGO_PKG_VERSION"))
        .description("Image classification. Authorize with an API key: the operator's, or the one that the server made at its start.")
}

/// Every address of the server behind one endpoint. Keys guard all but health, documentation, and metrics where those are open.
pub fn endpoint(state: State) -> BoxEndpoint<'static, Response> {
    match state.feedback.clone() {
        Some(store) => {
            let (registry, patience) = (state.registry.clone(), state.config.request_timeout);
            with_feedback(&state, feedback::FeedbackOperations { store, registry, patience })
        }
        None => with_feedback(&state, ()),
    }
}

fn with_feedback<F: OpenApi + 'static>(state: &State, feedback: F) -> BoxEndpoint<'static, Response> {
    match (state.config.metrics, state.metrics.clone()) {
        (MetricsAccess::Open, Some(metrics)) => around(state, service(state, OpenMetrics(metrics), feedback)),
        (MetricsAccess::Guarded, Some(metrics)) => around(state, service(state, GuardedMetrics(metrics), feedback)),
        (MetricsAccess::Elsewhere | MetricsAccess::Off, _) | (_, None) => around(state, service(state, (), feedback)),
    }
}

fn around<T: OpenApi + 'static>(state: &State, service: OpenApiService<T, ()>) -> BoxEndpoint<'static, Response> {
    let surroundings = Arc::new(Surroundings {
        max_body_bytes: state.config.max_body_bytes,
        bodies: Budget::new(state.config.max_inflight_body_bytes),
        allow: Arc::new(AllowTable::from_spec(&service.spec())),
    });
    let cors = Arc::new(Cors { origins: state.config.cors_origins.clone(), allow: Arc::clone(&surroundings.allow) });
    let asked = Arc::clone(&cors);
    pages::add(Route::new(), &service)
        .nest("/", service)
        .data(Arc::clone(&state.authority))
        .data(Arc::new(state.config.peers.clone()))
        .around(move |endpoint, request| cors::preflight(endpoint, request, Arc::clone(&asked)))
        .around(move |endpoint, request| request::handle(endpoint, request, Arc::clone(&surroundings)))
        .around(move |endpoint, request| cors::mark(endpoint, request, Arc::clone(&cors)))
        .around(security_headers::handle)
        .boxed()
}
