//! The middleware of all operations: gives each request an id, a trace, a log span and a body limit; contains panics; renders
//! errors in one shape; writes one access-log line and one metric per request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use poem::http::Uri;
use poem::http::header::{ALLOW, HeaderValue};
use poem::{Endpoint, IntoResponse, Request, Response};
use poem_openapi::OperationId;
use tracing::Instrument;

use super::body_limit::{BodyBudget, BodyLimit};
use super::cache_headers::{CACHE_STATUS, cache_status};
use super::error::{ApiError, ErrorCode};
use super::error_mapping::from_poem_error;
use super::request_context::{REQUEST_ID, RequestContext};
use super::route_table::RouteTable;
use super::server_timing::{SERVER_TIMING, server_timing};
use kiln_runtime::telemetry::{metrics, target, traces};
use kiln_server::auth::Principal;

/// State that all requests share.
#[derive(Debug)]
pub(super) struct MiddlewareState {
    /// Maximum size of one body in bytes.
    pub(super) max_body_bytes: usize,
    /// Budget of all bodies together.
    pub(super) body_budget: Arc<BodyBudget>,
    pub(super) routes: Arc<RouteTable>,
}

/// Runs `endpoint` and turns its outcome, an error or a panic included, into a response.
pub(super) async fn run<E: Endpoint>(
    endpoint: Arc<E>,
    mut request: Request,
    state: Arc<MiddlewareState>,
) -> poem::Result<Response> {
    let body_limit = BodyLimit::new(state.max_body_bytes, &state.body_budget);
    let context = Arc::new(RequestContext::new(&request, body_limit.clone()));
    if request.uri().path() == "/v2/" {
        // The text of the Open Inference Protocol has the path without the slash, its YAML has it with the slash. The router
        // knows only one of them.
        *request.uri_mut() = Uri::from_static("/v2");
    }
    request.set_data(body_limit);
    request.set_data(Arc::clone(&context));
    let trace = begin_trace(&request, &context, &state.routes);
    let trace_id = trace.trace_id().map(tracing::field::display);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    // The client controls these fields. They are truncated, so that no log line gets long, and logged as quoted strings, so that
    // they cannot imitate another field.
    let (path, method, id) = (truncated(uri.path()), truncated(method.as_str()), context.id.as_str());
    // The span has the highest level, so that every event inside it has the ids at any log level.
    let span = tracing::error_span!(target: target::REQUEST, "request", id, method, path, trace_id);
    async {
        let outcome = trace.run(AssertUnwindSafe(endpoint.call(request)).catch_unwind()).await;
        let (mut response, operation, outcome) = match outcome {
            Ok(Ok(response)) => {
                let response = response.into_response();
                let operation = operation_name(response.data::<OperationId>());
                (response, operation, "ok")
            }
            Ok(Err(error)) => {
                let operation = operation_name(error.data::<OperationId>());
                let error = from_poem_error(error);
                (error_response(&error, &context, &uri, &state.routes), operation, error.code.as_str())
            }
            Err(_panic) => {
                let error = ApiError::internal();
                (error_response(&error, &context, &uri, &state.routes), "none", error.code.as_str())
            }
        };
        let took = context.arrived.elapsed();
        let phases = context.phases();
        add_headers(&mut response, &context, phases.as_deref(), took);
        record(&response, operation, outcome, took, context.principal.get().map(|principal| &**principal), phases);
        trace.finish(response.status().as_u16(), operation, outcome);
        Ok(response)
    }
    .instrument(span)
    .await
}

/// Begins the request's span, in the caller's trace if the request has one.
fn begin_trace(request: &Request, context: &RequestContext, routes: &RouteTable) -> traces::RequestSpan {
    let values = |name| request.headers().get_all(name).iter().map(HeaderValue::as_bytes);
    let parent = traces::ParentContext::from_headers(values("traceparent"), values("tracestate"));
    let path = request.uri().path();
    // Probes and scrapers send requests every few seconds.
    let begins_trace = path != "/metrics" && !path.starts_with("/health/") && !path.starts_with("/v2/health/");
    let method = request.method().as_str();
    let info = traces::RequestInfo {
        id: &context.id,
        method,
        path: truncated(path),
        route: &|| routes.pattern(path),
        begins_trace,
    };
    traces::RequestSpan::start(context.arrived, parent, info)
}

fn error_response(error: &ApiError, context: &RequestContext, uri: &Uri, routes: &RouteTable) -> Response {
    let mut response = error.to_response(&context.id);
    if error.code == ErrorCode::MethodNotAllowed {
        response.headers_mut().insert(ALLOW, routes.methods(uri.path()));
    }
    response
}

fn add_headers(response: &mut Response, context: &RequestContext, phases: Option<&str>, took: Duration) {
    let timing = server_timing(phases, took);
    let cache = context.cache_lookups.get().and_then(|lookups| cache_status(lookups));
    let headers =
        [(REQUEST_ID, Some(context.id.as_str())), (SERVER_TIMING, Some(&timing)), (CACHE_STATUS, cache.as_deref())];
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Returns the operation id for metrics and logs: a bounded set, whatever path the client requests.
fn operation_name(id: Option<&OperationId>) -> &'static str {
    id.map_or("none", |id| id.0)
}

/// Counts the request and writes its access-log line.
fn record(
    response: &Response,
    operation: &'static str,
    outcome: &'static str,
    took: Duration,
    principal: Option<&Principal>,
    phases: Option<String>,
) {
    let status = response.status().as_u16();
    metrics::request(operation, status, outcome, took);
    if let Some(principal) = principal {
        metrics::request_by_key(&principal.metric_label, outcome);
    }
    let key = principal.map(|principal| principal.id.as_str());
    let took_ms = took.as_secs_f64() * 1e3;
    // Probes and scrapers send requests every few seconds, so their lines are only logged at the debug level.
    if matches!(operation, "live" | "ready" | "metrics" | "oip_live" | "oip_ready") {
        tracing::debug!(target: target::ACCESS, operation, key, status, outcome, took_ms, "request answered");
    } else if status == 500 {
        tracing::warn!(target: target::ACCESS, operation, key, status, outcome, took_ms, phases, "request answered");
    } else {
        tracing::info!(target: target::ACCESS, operation, key, status, outcome, took_ms, phases, "request answered");
    }
}

/// Returns the part of a client's text that a log line may hold.
fn truncated(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}
