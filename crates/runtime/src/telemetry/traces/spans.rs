//! The spans that Kiln records: a request, the phases of its images, and the batches of an engine.
//!
//! A request's attributes follow the semantic conventions for HTTP servers
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{
    FutureExt as _, Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceId,
    Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

use super::trace_context::ParentContext;
use crate::telemetry::PhaseTimings;

/// HTTP methods that a span may name. A client can invent others, so they are recorded as `_OTHER`.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// Creates spans. Set by [`super::install`].
pub(super) static TRACER: OnceLock<SdkTracer> = OnceLock::new();

fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// Converts instants to wall-clock times, which spans need. A request reads the wall clock only once, so that setting the
/// clock does not distort its durations.
#[derive(Clone, Copy, Debug)]
struct SpanClock {
    instant: Instant,
    time: SystemTime,
}

impl SpanClock {
    /// Reads both clocks.
    fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// Returns the wall-clock time of an instant.
    fn at(&self, instant: Instant) -> SystemTime {
        match instant.checked_duration_since(self.instant) {
            Some(after) => self.time + after,
            None => self.time.checked_sub(self.instant - instant).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// Properties of a request that are known at its start.
#[derive(Clone, Copy)]
pub struct RequestInfo<'a> {
    /// The request ID in responses and in the log.
    pub id: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// The path without the query.
    pub path: &'a str,
    /// Returns the route that matches the path, if any. Only called if the span may be recorded.
    pub route: &'a dyn Fn() -> Option<&'a str>,
    /// Whether the request begins a trace if the caller did not. Probes do not.
    pub begins_trace: bool,
}

/// The span of a request in flight. Ends with [`RequestSpan::finish`], or when it is dropped.
#[derive(Debug)]
pub struct RequestSpan {
    trace_id: Option<TraceId>,
    /// `None` if the trace is not recorded.
    context: Option<Context>,
}

impl RequestSpan {
    /// Starts the span of a request whose head arrived at `arrived`, within the caller's trace if there is one.
    pub fn start(arrived: Instant, parent: Option<ParentContext>, info: RequestInfo<'_>) -> Self {
        let unrecorded = Self { trace_id: parent.as_ref().map(|parent| parent.0.trace_id()), context: None };
        let Some(tracer) = tracer().filter(|_| info.begins_trace || parent.is_some()) else { return unrecorded };
        let route = (info.route)();
        let method = METHODS.iter().find(|method| **method == info.method).copied();
        let parent = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent.0));
        let clock = SpanClock::now();
        let span = match route {
            Some(route) => SpanBuilder::from_name(format!("{} {route}", method.unwrap_or("HTTP"))),
            None => SpanBuilder::from_name(method.unwrap_or("HTTP")),
        };
        let span = span.with_kind(SpanKind::Server).with_start_time(clock.at(arrived));
        let context = Context::new().with_value(clock).with_span(tracer.build_with_context(span, &parent));
        let span_context = context.span().span_context().clone();
        if !span_context.is_valid() {
            // The tracer is shut down.
            return unrecorded;
        }
        if !span_context.is_sampled() {
            return Self { trace_id: Some(span_context.trace_id()), context: None };
        }
        context.span().set_attributes([
            KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
            KeyValue::new("url.path", info.path.to_string()),
            KeyValue::new("kiln.request_id", info.id.to_string()),
        ]);
        if let Some(route) = route {
            context.span().set_attribute(KeyValue::new("http.route", route.to_string()));
        }
        Self { trace_id: Some(span_context.trace_id()), context: Some(context) }
    }

    /// Returns the ID of the caller's trace, or of a new one if traces are sent.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// Runs `work` with this span as the current one, for [`record_phases`] and [`current_link`].
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.context {
            Some(context) => work.with_context(context.clone()).await,
            None => work.await,
        }
    }

    /// Ends the span with the response. `outcome` is `ok` or an error code.
    pub fn finish(mut self, status: u16, operation: &'static str, outcome: &'static str) {
        let Some(context) = self.context.take() else { return };
        let span = context.span();
        span.set_attributes([
            KeyValue::new("http.response.status_code", i64::from(status)),
            KeyValue::new("kiln.operation", operation),
            KeyValue::new("kiln.outcome", outcome),
        ]);
        // For a server's span, a client error is not an error of the span.
        if status >= 500 {
            span.set_attribute(KeyValue::new("error.type", outcome));
            span.set_status(Status::error(outcome));
        }
        end(&context);
    }
}

impl Drop for RequestSpan {
    /// Ends the span of a request whose client disconnected.
    fn drop(&mut self) {
        if let Some(context) = &self.context {
            context.span().set_attribute(KeyValue::new("error.type", "cancelled"));
            end(context);
        }
    }
}

fn end(context: &Context) {
    if let Some(clock) = context.get::<SpanClock>() {
        context.span().end_with_timestamp(clock.at(Instant::now()));
    }
}

/// Records the phases of one image of the current request. The first begins at `started`, each further one at the end of
/// the previous one. Phases of zero duration are not recorded.
pub fn record_phases(started: Instant, timings: &PhaseTimings) {
    let Some(tracer) = tracer() else { return };
    let context = Context::current();
    let Some(clock) = context.get::<SpanClock>() else { return };
    let mut start = started;
    for (phase, duration) in timings.nonzero() {
        let span = SpanBuilder::from_name(phase.as_str()).with_start_time(clock.at(start));
        start += duration;
        tracer.build_with_context(span, &context).end_with_timestamp(clock.at(start));
    }
}

/// A link from a batch to the request of one of its images. Empty if that request is not recorded.
#[derive(Clone, Debug, Default)]
pub struct SpanLink(Option<Box<SpanContext>>);

/// Returns a link to the current request.
pub fn current_link() -> SpanLink {
    if tracer().is_none() {
        return SpanLink::default();
    }
    Context::map_current(|context| {
        let span = context.span();
        SpanLink(Some(span.span_context()).filter(|context| context.is_sampled()).cloned().map(Box::new))
    })
}

impl SpanLink {
    /// Returns whether the linked request is recorded.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }
}

/// A batch that an engine ran.
#[derive(Clone, Copy, Debug)]
pub struct BatchRun<'a> {
    /// The start.
    pub started: Instant,
    /// The duration.
    pub duration: Duration,
    /// The model's name.
    pub model: &'a str,
    /// The index of the engine.
    pub engine: usize,
    /// The number of images.
    pub size: usize,
    /// The number of rows that the device computed, including padding.
    pub padded: usize,
    /// The error message, if the batch failed.
    pub error: Option<&'a str>,
}

/// Records a batch, if it is linked to a request. It belongs to several requests, so it has a trace of its own.
///
/// The SDK keeps at most 128 links and records the number of the others.
pub fn record_batch(run: &BatchRun<'_>, links: &[SpanLink]) {
    let Some(tracer) = tracer().filter(|_| !links.is_empty()) else { return };
    let clock = SpanClock::now();
    let attributes = [
        KeyValue::new("kiln.model", run.model.to_string()),
        KeyValue::new("kiln.engine", run.engine as i64),
        KeyValue::new("kiln.batch.size", run.size as i64),
        KeyValue::new("kiln.batch.padded_size", run.padded as i64),
    ];
    let links = links.iter().filter_map(|link| link.0.as_deref());
    let links = links.map(|context| Link::new(context.clone(), Vec::new(), 0));
    let span = SpanBuilder::from_name("batch")
        .with_start_time(clock.at(run.started))
        .with_attributes(attributes)
        .with_links(links.collect());
    let mut span = tracer.build_with_context(span, &Context::new());
    if let Some(error) = run.error {
        span.set_status(Status::error(error.to_string()));
    }
    span.end_with_timestamp(clock.at(run.started + run.duration));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_preserves_differences_before_and_after_its_reading() {
        let clock = SpanClock::now();
        let step = Duration::from_nanos(1_234_567);
        assert_eq!(clock.at(clock.instant), clock.time);
        assert_eq!(clock.at(clock.instant + step), clock.time + step);
        assert_eq!(clock.at(clock.instant - step), clock.time - step);
    }
}
