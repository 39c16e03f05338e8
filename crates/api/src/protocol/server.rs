//! The server's own operations: health without a key, the rest with it.

use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::Tag;
use super::schema::{Ready, RepositoryEntry, ServerMetadata};
use crate::State;
use crate::caller::{AnyScope, Caller};
use crate::health::LiveBody;
use crate::refused::{OfCallers, OfLookups, Refused};
use kiln_runtime::readiness;

/// `GET /v2` and its like.
pub(in crate) struct ServerOperations(pub(in crate) State);

/// What is served beyond the protocol itself, by Triton's names.
const EXTENSIONS: [&str; 6] =
    ["binary_tensor_data", "classification", "model_configuration", "parameters", "schedule_policy", "statistics"];

#[derive(ApiResponse)]
enum ReadyAnswer {
    /// Requests are welcome
    #[oai(status = 200)]
    Ready(Json<Ready>),
    /// Starting, recovering, draining or failed
    #[oai(status = 503)]
    NotReady(Json<Ready>, #[oai(header = "Retry-After")] u32),
}

#[OpenApi(tag = "Tag::Protocol", prefix_path = "/v2")]
impl ServerOperations {
    /// Is the process alive?
    #[oai(path = "/health/live", method = "get", operation_id = "oip_live")]
    async fn live(&self) -> Json<LiveBody> {
        Json(LiveBody { live: true })
    }

    /// Does the process want traffic?
    #[oai(path = "/health/ready", method = "get", operation_id = "oip_ready")]
    async fn ready(&self) -> ReadyAnswer {
        match self.0.readiness.state() {
            readiness::State::Ready => ReadyAnswer::Ready(Json(Ready { ready: true })),
            _ => ReadyAnswer::NotReady(Json(Ready { ready: false }), 1),
        }
    }

    /// Describe the server
    #[oai(path = "/", method = "get", operation_id = "oip_server")]
    async fn server(&self, _caller: Caller<AnyScope>) -> Result<Json<ServerMetadata>, Refused<OfCallers>> {
        Ok(Json(ServerMetadata {
            name: "kiln".to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            extensions: EXTENSIONS.map(String::from).into(),
        }))
    }

    /// List the models and their versions
    #[oai(path = "/repository/index", method = "post", operation_id = "oip_repository_index")]
    async fn repository_index(
        &self,
        _caller: Caller<AnyScope>,
    ) -> Result<Json<Vec<RepositoryEntry>>, Refused<OfLookups>> {
        let entries = self.0.registry.all()?.into_iter().flatten().map(|version| RepositoryEntry {
            name: version.classifier.model().spec().name.to_string(),
            version: version.classifier.model().version().to_string(),
            state: "READY".to_string(),
            reason: String::new(),
        });
        Ok(Json(entries.collect()))
    }
}
