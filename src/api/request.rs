//! What happens to every request, whatever its operation: an id, a span, a bounded body, a guard against panics,
//! one shape for errors, one access-log line and one metric.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use poem::http::{Method, StatusCode, Uri};
use poem::{Endpoint, Request, Response};
use poem_openapi::OperationId;
use poem_openapi::types::ToJSON;
use tracing::Instrument;
use uuid::Uuid;

use super::allow::AllowTable;
use super::body_limit::{self, BodyLimit, Budget, Cut};
use super::cache_status::{CACHE_STATUS, LookedUp};
use super::caller::Known;
use super::error::Code;
use super::failure::Failure;
use super::server_timing::{self, SERVER_TIMING, Timed};
use crate::keys::Account;
use crate::serve::BodyProgress;
use crate::telemetry::{metrics, target, traces};

/// Identifies a request in its answer, in the log and in error bodies.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// When a request's head was there. Its time runs from then on, however long its body takes to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived(pub(super) Instant);

/// The header that carries it, in both directions.
const REQUEST_ID: &str = "X-Request-Id";

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
    let started = Instant::now();
    let id = RequestId::of(&request);
    if request.uri().path() == "/v2/" {
        // The Open Inference Protocol's text has it without the slash, its YAML with it; the router knows only one.
        *request.uri_mut() = Uri::from_static("/v2");
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let body = BodyWatch::over(&mut request, &surroundings);
    let (known, timed, looked_up) = (Known::default(), Timed::default(), LookedUp::default());
    request.set_data(id.clone());
    request.set_data(Arrived(started));
    request.set_data(known.clone());
    request.set_data(timed.clone());
    request.set_data(looked_up.clone());
    let trace = trace(&request, &id, started, &surroundings.allow);
    let trace_id = trace.trace_id().map(tracing::field::display);
    let path = short(uri.path());
    // Of the highest level, so that whatever is logged inside has the ids, however little is logged.
    let span = tracing::error_span!(target: target::REQUEST, "request", id = %id.0, %method, path, trace_id);
    async {
        let outcome = trace.of(AssertUnwindSafe(endpoint.call(request)).catch_unwind()).await;
        let (mut response, operation, word) = match outcome {
            Ok(Ok(answer)) => {
                let response = poem::IntoResponse::into_response(answer);
                let operation = operation(response.data::<OperationId>());
                (response, operation, "ok")
            }
            Ok(Err(error)) => {
                let operation = operation(error.data::<OperationId>());
                let failure = body.failure().unwrap_or_else(|| failure_of(error));
                (render(&failure, &id, &method, &uri, &surroundings.allow), operation, failure.code.word())
            }
            Err(_panic) => {
                let failure = Failure::fault();
                (render(&failure, &id, &method, &uri, &surroundings.allow), "none", failure.code.word())
            }
        };
        let (took, phases) = (started.elapsed(), timed.phases());
        let timing = server_timing::header(phases.as_deref(), took);
        let kept = looked_up.header().map(|value| (CACHE_STATUS, value));
        for (name, value) in [(REQUEST_ID, id.0.as_str()), (SERVER_TIMING, &timing)].into_iter().chain(kept) {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        record(&response, operation, word, took, known.account(), phases);
        trace.finish(response.status().as_u16(), operation, word);
        Ok(response)
    }
    .instrument(span)
    .await
}

impl RequestId {
    /// The client's own id if it is fit for a header and a log line, else a fresh one.
    fn of(request: &Request) -> Self {
        let fit = |id: &&str| !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
        let given = request.header(REQUEST_ID).filter(fit);
        Self(given.map_or_else(|| Uuid::now_v7().to_string(), ToString::to_string))
    }
}

/// The request's place in a trace: that of its caller, if it has one.
fn trace(request: &Request, id: &RequestId, arrived: Instant, addresses: &AllowTable) -> traces::Request {
    let values = |name| request.headers().get_all(name).iter().map(HeaderValue::as_bytes);
    let caller = traces::Caller::read(values("traceparent"), values("tracestate"));
    let path = request.uri().path();
    // Probes and scrapers come every few seconds.
    let interesting = path != "/metrics" && !path.starts_with("/health/") && !path.starts_with("/v2/health/");
    let method = request.method().as_str();
    let facts = traces::Facts { id: &id.0, method, path: short(path), route: &|| addresses.route(path), interesting };
    traces::Request::begin(arrived, caller, facts)
}

/// What the body's wrappers know of its fate. Extractors pass errors on as text, so the cause is asked for here.
struct BodyWatch {
    limit: BodyLimit,
    progress: Option<BodyProgress>,
}

impl BodyWatch {
    fn over(request: &mut Request, surroundings: &Surroundings) -> Self {
        let progress = request.data::<BodyProgress>().cloned();
        Self { limit: body_limit::apply(request, surroundings.max_body_bytes, &surroundings.bodies), progress }
    }

    fn failure(&self) -> Option<Failure> {
        if let Some(cut) = self.limit.cut() {
            return Some(match cut {
                Cut::TooLarge => {
                    let message = format!("the body is larger than {} bytes", self.limit.max_bytes());
                    Failure::new(Code::BodyTooLarge, message)
                }
                Cut::NoRoom => Failure::new(Code::Overloaded, "the server has as many bytes as it can hold")
                    .retry_after(Duration::from_secs(1)),
                Cut::NoLength => {
                    Failure::new(Code::LengthRequired, "neither its length nor chunks tell where the body ends")
                }
            });
        }
        let timed_out = self.progress.as_ref().is_some_and(BodyProgress::timed_out);
        timed_out.then(|| Failure::new(Code::ClientTooSlow, "the next piece of the body did not arrive in time"))
    }
}

/// Our own failure, or the framework's put into our words.
fn failure_of(error: poem::Error) -> Failure {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.clone();
    }
    if error.is::<NotFoundError>() {
        return Failure::new(Code::NotFound, "there is nothing at this address");
    }
    if error.is::<MethodNotAllowedError>() {
        return Failure::new(Code::MethodNotAllowed, "this address does not take this method");
    }
    let code = match error.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::ContentType,
        status if status.is_client_error() => Code::Malformed,
        _ => {
            tracing::error!(%error, "a request failed");
            return Failure::fault();
        }
    };
    Failure::new(code, error.to_string())
}

fn render(failure: &Failure, id: &RequestId, method: &Method, uri: &Uri, allow: &AllowTable) -> Response {
    let status = StatusCode::from_u16(failure.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::builder().status(status).body(failure.body(&id.0).to_json_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if let Some(after) = failure.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
    }
    if let Some(challenge) = challenge(failure.code) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        tracing::debug!(%method, "not allowed");
        headers.insert(ALLOW, allow.methods(uri.path()));
    }
    response
}

/// What the caller should have sent (RFC 6750, 3).
fn challenge(code: Code) -> Option<&'static str> {
    match (code.status(), code) {
        (401, Code::KeyMissing) => Some("Bearer realm=\"kiln\""),
        (401, _) => Some("Bearer realm=\"kiln\", error=\"invalid_token\""),
        (403, _) => Some("Bearer realm=\"kiln\", error=\"insufficient_scope\""),
        _ => None,
    }
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
    caller: Option<&Account>,
    phases: Option<String>,
) {
    let status = response.status();
    metrics::request(operation, status.as_u16(), word, took);
    if let Some(caller) = caller {
        metrics::request_by(&caller.label, word);
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
