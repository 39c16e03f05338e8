//! What happens to every request, whatever its operation: an id, a span, a bounded body, a guard against panics,
//! one shape for errors, one access-log line and one metric.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use poem::http::Uri;
use poem::http::header::HeaderValue;
use poem::{Endpoint, Request, Response};
use poem_openapi::OperationId;
use tracing::Instrument;

use super::allow::AllowTable;
use super::body_limit::{self, Budget};
use super::cache_status::{self, CACHE_STATUS};
use super::error::Code;
use super::error_answer;
use super::failure::Failure;
use super::notes::{Notes, REQUEST_ID};
use super::server_timing::{self, SERVER_TIMING};
use kiln_server::auth::Principal;
use kiln_server::BodyProgress;
use kiln_runtime::telemetry::{metrics, target, traces};

/// What the middleware needs besides the request.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) max_body_bytes: usize,
    /// For all bodies together.
    pub(super) bodies: Arc<Budget>,
    pub(super) allow: Arc<AllowTable>,
}

/// Runs `endpoint` and turns whatever comes out into an answer.
pub(super) async fn handle<E: Endpoint>(
    endpoint: Arc<E>,
    mut request: Request,
    surroundings: Arc<Surroundings>,
) -> poem::Result<Response> {
    let body = body_limit::apply(&mut request, surroundings.max_body_bytes, &surroundings.bodies);
    let notes = Arc::new(Notes::on(&request, body));
    if request.uri().path() == "/v2/" {
        // The Open Inference Protocol's text has it without the slash, its YAML with it; the router knows only one.
        *request.uri_mut() = Uri::from_static("/v2");
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let progress = request.data::<BodyProgress>().cloned();
    request.set_data(Arc::clone(&notes));
    let trace = trace(&request, &notes, &surroundings.allow);
    let trace_id = trace.trace_id().map(tracing::field::display);
    // A stranger wrote them: no line gets long, and as texts they stand in quotes, so that none looks like another field.
    let (path, word, asked) = (short(uri.path()), short(method.as_str()), notes.id.as_str());
    // Of the highest level, so that whatever is logged inside has the ids, however little is logged.
    let span = tracing::error_span!(target: target::REQUEST, "request", id = asked, method = word, path, trace_id);
    async {
        let outcome = trace.of(AssertUnwindSafe(endpoint.call(request)).catch_unwind()).await;
        let render = |failure: &Failure| error_answer::render(failure, &notes.id, &uri, &surroundings.allow);
        let (mut response, operation, word) = match outcome {
            Ok(Ok(answer)) => {
                let response = poem::IntoResponse::into_response(answer);
                let operation = operation(response.data::<OperationId>());
                (response, operation, "ok")
            }
            Ok(Err(error)) => {
                let operation = operation(error.data::<OperationId>());
                let cut = notes.body.failure().or_else(|| progress.as_ref().and_then(too_slow));
                let failure = cut.unwrap_or_else(|| error_answer::failure_of(error));
                (render(&failure), operation, failure.code.word())
            }
            Err(_panic) => {
                let failure = Failure::fault();
                (render(&failure), "none", failure.code.word())
            }
        };
        let (took, phases) = (notes.arrived.elapsed(), notes.timings.get().map(server_timing::phases));
        let timing = server_timing::header(phases.as_deref(), took);
        let kept = notes.look_ups.get().and_then(|look_ups| cache_status::header(look_ups));
        let own = [(REQUEST_ID, notes.id.as_str()), (SERVER_TIMING, &timing)];
        for (name, value) in own.into_iter().chain(kept.as_deref().map(|value| (CACHE_STATUS, value))) {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        record(&response, operation, word, took, notes.caller.get().map(|caller| &**caller), phases);
        trace.finish(response.status().as_u16(), operation, word);
        Ok(response)
    }
    .instrument(span)
    .await
}

/// The request's place in a trace: that of its caller, if it has one.
fn trace(request: &Request, notes: &Notes, addresses: &AllowTable) -> traces::Request {
    let values = |name| request.headers().get_all(name).iter().map(HeaderValue::as_bytes);
    let caller = traces::Caller::read(values("traceparent"), values("tracestate"));
    let path = request.uri().path();
    // Probes and scrapers come every few seconds.
    let interesting = path != "/metrics" && !path.starts_with("/health/") && !path.starts_with("/v2/health/");
    let method = request.method().as_str();
    let facts =
        traces::Facts { id: &notes.id, method, path: short(path), route: &|| addresses.route(path), interesting };
    traces::Request::begin(notes.arrived, caller, facts)
}

/// A client that stopped sending, whatever the error says that came of it.
fn too_slow(progress: &BodyProgress) -> Option<Failure> {
    let failure = || Failure::new(Code::ClientTooSlow, "the next piece of the body did not arrive in time");
    progress.timed_out().then(failure)
}

/// The operation's name, for metrics: a bounded set, whatever address was asked for.
fn operation(id: Option<&OperationId>) -> &'static str {
    id.map_or("none", |id| id.0)
}

fn record(
    response: &Response,
    operation: &'static str,
    word: &'static str,
    took: Duration,
    caller: Option<&Principal>,
    phases: Option<String>,
) {
    let status = response.status();
    metrics::request(operation, status.as_u16(), word, took);
    if let Some(caller) = caller {
        metrics::request_by(&caller.metric_label, word);
    }
    let key = caller.map(|caller| caller.id.as_str());
    let (status, took_ms) = (status.as_u16(), took.as_secs_f64() * 1e3);
    // Probes and scrapers come every few seconds; they are of interest only to those who ask for them.
    if matches!(operation, "live" | "ready" | "metrics" | "oip_live" | "oip_ready") {
        tracing::debug!(target: target::ACCESS, operation, key, status, outcome = word, took_ms, "answered");
    } else if status == 500 {
        tracing::warn!(target: target::ACCESS, operation, key, status, outcome = word, took_ms, phases, "answered");
    } else {
        tracing::info!(target: target::ACCESS, operation, key, status, outcome = word, took_ms, phases, "answered");
    }
}

/// The part of a path that a log line can bear.
fn short(path: &str) -> &str {
    &path[..path.floor_char_boundary(200)]
}
