//! The HTTP interface: typed handlers, and the OpenAPI document that they produce.
//!
//! It knows operations, schemas, keys and status codes. It knows neither pixels, nor batch sizes, nor devices' code.
//!
//! | file | responsibility |
//! |---|---|
//! | `predict.rs`, `models.rs`, `health.rs`, `home.rs` | the operations |
//! | `protocol/` | the operations of the Open Inference Protocol |
//! | `pages.rs` | Swagger UI and the OpenAPI document |
//! | `schema.rs` | the JSON over the wire |
//! | `upload.rs` | pictures as they arrive |
//! | `caller.rs` | the API key |
//! | `error.rs`, `failure.rs` | the one status table; which error is which of its rows |
//! | `refused.rs` | that table in the OpenAPI document |
//! | `request.rs` | what happens to every request |
//! | `body_limit.rs`, `allow.rs` | its helpers |
//! | `security_headers.rs`, `page_policy.rs`, `cors.rs` | what browsers may do with the answers |

mod allow;
mod body_limit;
mod caller;
mod cors;
mod error;
mod failure;
mod health;
mod home;
mod models;
mod page_policy;
mod pages;
mod predict;
mod protocol;
mod refused;
mod request;
mod schema;
mod security_headers;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use poem::{Endpoint, EndpointExt, Route};
use poem_openapi::OpenApiService;

use crate::keys::Secret;
use crate::readiness::Readiness;
use crate::registry::Registry;
use allow::AllowTable;
use cors::Cors;
use request::Surroundings;

pub use cors::{NotAnOrigin, Origin};

/// The interface's own settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The most files in one `/predict/batch`.
    pub max_batch_files: usize,
    /// How long an answer is worth waiting for; a picture that waits longer is not run.
    pub request_timeout: Duration,
    /// Whose pages may read the answers besides our own; nobody's where empty.
    pub cors_origins: Vec<Origin>,
}

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct State {
    /// The models.
    pub registry: Registry,
    /// Whether traffic is welcome.
    pub readiness: Readiness,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// The interface's own settings.
    pub config: Config,
}

type Operations = (
    predict::Predict,
    models::Models,
    health::Health,
    home::Home,
    protocol::Inference,
    protocol::ModelOperations,
    protocol::ServerOperations,
);

fn service(state: &State) -> OpenApiService<Operations, ()> {
    let operations = (
        predict::Predict(state.clone()),
        models::Models(state.clone()),
        health::Health(state.clone()),
        home::Home,
        protocol::Inference::new(state.clone()),
        protocol::ModelOperations(state.clone()),
        protocol::ServerOperations(state.clone()),
    );
    OpenApiService::new(operations, "Kiln", env!("CARGO_PKG_VERSION"))
        .description("Image classification. Authorize with the API key: the operator's, or the one that the server made at its start.")
}

/// Every address of the server behind one endpoint; `key` guards all but health, metrics and documentation.
pub fn endpoint(state: State, key: Secret) -> impl Endpoint {
    let service = service(&state);
    let surroundings = Arc::new(Surroundings {
        max_body_bytes: state.config.max_body_bytes,
        allow: Arc::new(AllowTable::from_spec(&service.spec())),
    });
    let cors = Arc::new(Cors { origins: state.config.cors_origins, allow: Arc::clone(&surroundings.allow) });
    let asked = Arc::clone(&cors);
    pages::add(Route::new(), &service)
        .nest("/", service)
        .data(Arc::new(key))
        .around(move |endpoint, request| cors::preflight(endpoint, request, Arc::clone(&asked)))
        .around(move |endpoint, request| request::handle(endpoint, request, Arc::clone(&surroundings)))
        .around(move |endpoint, request| cors::mark(endpoint, request, Arc::clone(&cors)))
        .around(security_headers::handle)
}
