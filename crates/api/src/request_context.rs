//! The context of one request: its id, its arrival, and the facts that authentication and handlers report about it. The
//! middleware puts these facts into response headers, metrics and the access log.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use poem::Request;
use uuid::Uuid;

use super::body_limit::BodyLimit;
use super::server_timing::format_phases;
use kiln_classifier::CacheStatus;
use kiln_runtime::telemetry::PhaseTimings;
use kiln_server::auth::Principal;

/// The header with the request id, in requests and responses.
pub(super) const REQUEST_ID: &str = "X-Request-Id";

/// The context of one request, found in the request's extensions.
///
/// The reported facts are slots that are set once. Response extensions would not do: error responses report the caller and the
/// phases, too, and poem hands back extensions only of successful responses.
#[derive(Debug)]
pub(super) struct RequestContext {
    /// Identifies the request in its response, in error bodies and in the log.
    pub(super) id: String,
    /// When the request's head was complete. Deadlines count from here, however long the body takes to arrive.
    pub(super) arrived: Instant,
    /// The bounds of the request's body.
    pub(super) body_limit: BodyLimit,
    /// The authenticated caller.
    pub(super) principal: OnceLock<Arc<Principal>>,
    /// The phases of the classified image; for several images those of the slowest.
    pub(super) timings: OnceLock<PhaseTimings>,
    /// The outcomes of the response cache, one per image; empty if the cache is disabled.
    pub(super) cache_lookups: OnceLock<Vec<CacheStatus>>,
}

impl RequestContext {
    /// Creates the context of a request whose head has just arrived. The id is the client's if it fits into a header and a log
    /// line, otherwise a new UUID.
    pub(super) fn new(request: &Request, body_limit: BodyLimit) -> Self {
        let arrived = Instant::now();
        let is_valid = |id: &&str| !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
        let given = request.header(REQUEST_ID).filter(is_valid);
        let id = given.map_or_else(|| Uuid::now_v7().to_string(), ToString::to_string);
        let (principal, timings, cache_lookups) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { id, arrived, body_limit, principal, timings, cache_lookups }
    }

    /// Returns the phases that took time in the syntax of `Server-Timing`, in milliseconds; `None` if nothing was classified.
    pub(super) fn phases(&self) -> Option<String> {
        self.timings.get().map(format_phases)
    }
}
