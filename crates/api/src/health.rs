//! The operations for orchestrators. They need no key.

use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};

use super::State;
use kiln_runtime::readiness;

/// `GET /health/*`.
pub(super) struct Health(pub(super) State);

#[derive(Tags)]
enum Tag {
    /// For orchestrators and scrapers.
    Operations,
}

/// Whether the process lives.
#[derive(Debug, Object)]
pub(super) struct LiveBody {
    /// Always true: a process that is not alive does not answer.
    pub(super) live: bool,
}

/// Whether the process wants traffic.
#[derive(Debug, Object)]
struct ReadyBody {
    /// True if requests are welcome.
    ready: bool,
    /// `ready`, `starting`, `recovering`, `draining` or `failed`.
    state: String,
}

#[derive(ApiResponse)]
enum ReadyResponse {
    /// Requests are welcome
    #[oai(status = 200)]
    Ready(Json<ReadyBody>),
    /// Starting, recovering, draining or failed
    #[oai(status = 503)]
    NotReady(Json<ReadyBody>, #[oai(header = "Retry-After")] u32),
}

#[OpenApi(tag = "Tag::Operations")]
impl Health {
    /// Is the process alive?
    #[oai(path = "/health/live", method = "get", operation_id = "live")]
    async fn live(&self) -> Json<LiveBody> {
        Json(LiveBody { live: true })
    }

    /// Does the process want traffic?
    #[oai(path = "/health/ready", method = "get", operation_id = "ready")]
    async fn ready(&self) -> ReadyResponse {
        // The reason of a failure stays in the log: this operation is open to all.
        let state = self.0.readiness.state();
        let ready = state == readiness::State::Ready;
        let body = Json(ReadyBody { ready, state: state.word().to_string() });
        if ready { ReadyResponse::Ready(body) } else { ReadyResponse::NotReady(body, 1) }
    }
}
