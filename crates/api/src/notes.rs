//! What is known of one request: begun by the middleware, added to by who judges its caller and by its handler, and read when
//! it is answered.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use poem::Request;
use uuid::Uuid;

use super::body_limit::BodyLimit;
use kiln_classifier::LookUp;
use kiln_runtime::telemetry::PhaseTimings;
use kiln_server::auth::Principal;

/// The header that carries a request's id, in both directions.
pub(super) const REQUEST_ID: &str = "X-Request-Id";

/// The notes on one request. What is told of it once is not told again; a second time is not heard.
#[derive(Debug)]
pub(super) struct Notes {
    /// Identifies it in its answer, in the log and in error bodies.
    pub(super) id: String,
    /// When its head was there. Its time runs from then on, however long its body takes to come.
    pub(super) arrived: Instant,
    /// The bounds of its body.
    pub(super) body: BodyLimit,
    /// Who sent it, once his key or token was right.
    pub(super) caller: OnceLock<Arc<Principal>>,
    /// Where the time of what was classified went: of several pictures that of the slowest.
    pub(super) timings: OnceLock<PhaseTimings>,
    /// What came of looking for kept answers: one a picture, none where answers are not kept.
    pub(super) look_ups: OnceLock<Vec<LookUp>>,
}

impl Notes {
    /// On a request whose head is there now. Its id is the client's own if that is fit for a header and a log line, else a
    /// fresh one.
    pub(super) fn on(request: &Request, body: BodyLimit) -> Self {
        let arrived = Instant::now();
        let fit = |id: &&str| !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
        let given = request.header(REQUEST_ID).filter(fit);
        let id = given.map_or_else(|| Uuid::now_v7().to_string(), ToString::to_string);
        Self { id, arrived, body, caller: OnceLock::new(), timings: OnceLock::new(), look_ups: OnceLock::new() }
    }
}
