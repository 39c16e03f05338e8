//! The Open Inference Protocol v2 over HTTP, with the Triton extensions that Kiln supports. The crate `kiln_oip` parses requests
//! and encodes responses. This file has the server's own operations.

mod content_encoding;
mod infer;
mod models;
mod payload;
mod repository;
mod schema;
mod statistics;

use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi, Tags};

use super::State;
use super::auth::{AnyScope, Authenticated};
use super::management::LiveBody;
use super::openapi_errors::{AuthErrors, OperationError};
use kiln_runtime::readiness;
use schema::{Ready, ServerMetadata};

pub(super) use infer::Inference;
pub(super) use models::ModelOperations;
pub(super) use repository::RepositoryOperations;

#[derive(Tags)]
enum Tag {
    /// The [Open Inference Protocol](https://github.com/kserve/open-inference-protocol) v2, for clients of Triton and
    /// KServe.
    #[oai(rename = "Open Inference Protocol")]
    Protocol,
}

/// `GET /v2` and `GET /v2/health/*`. The health operations need no key.
pub(super) struct ServerOperations(pub(super) State);

/// The supported extensions of the protocol, by Triton's names.
const EXTENSIONS: [&str; 6] =
    ["binary_tensor_data", "classification", "model_configuration", "parameters", "schedule_policy", "statistics"];
/// The extension of servers with a model repository.
const REPOSITORY_EXTENSION: &str = "model_repository";

#[derive(ApiResponse)]
enum ReadyResponse {
    /// The server accepts requests
    #[oai(status = 200)]
    Ready(Json<Ready>),
    /// Starting, recovering, draining or failed
    #[oai(status = 503)]
    NotReady(Json<Ready>, #[oai(header = "Retry-After")] u32),
}

#[OpenApi(tag = "Tag::Protocol", prefix_path = "/v2")]
impl ServerOperations {
    /// Check whether the process is alive
    #[oai(path = "/health/live", method = "get", operation_id = "oip_live")]
    async fn live(&self) -> Json<LiveBody> {
        Json(LiveBody { live: true })
    }

    /// Check whether the server accepts requests
    #[oai(path = "/health/ready", method = "get", operation_id = "oip_ready")]
    async fn ready(&self) -> ReadyResponse {
        match self.0.readiness.state() {
            readiness::ReadinessState::Ready => ReadyResponse::Ready(Json(Ready { ready: true })),
            _ => ReadyResponse::NotReady(Json(Ready { ready: false }), 1),
        }
    }

    /// Describe the server
    #[oai(path = "/", method = "get", operation_id = "oip_server")]
    async fn server(
        &self,
        _caller: Authenticated<AnyScope>,
    ) -> Result<Json<ServerMetadata>, OperationError<AuthErrors>> {
        let repository = self.0.repository.as_ref().map(|_| REPOSITORY_EXTENSION);
        Ok(Json(ServerMetadata {
            name: "kiln".to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            extensions: EXTENSIONS.into_iter().chain(repository).map(String::from).collect(),
        }))
    }
}
