//! A request's span, and below it a span for each phase of each of its pictures. The attributes are those of the semantic
//! conventions for HTTP servers (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use std::time::Instant;

use opentelemetry::trace::{
    FutureExt as _, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _,
};
use opentelemetry::{Context, KeyValue};

use super::clock::Clock;
use super::{Caller, tracer};
use crate::telemetry::PhaseTimings;

/// Methods that may be told; there is no end to others.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// What is known of a request from the start.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Its id in answers and in the log.
    pub id: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// Tells the pattern of that path, if there is something at it.
    pub route: &'a dyn Fn() -> Option<&'a str>,
    /// Whether it is of interest although its caller does not trace it.
    pub interesting: bool,
}

/// A request that is under way. It ends with [`Request::finish`], or when it is dropped.
#[derive(Debug)]
pub struct Request {
    trace_id: Option<TraceId>,
    /// Only of a trace that is recorded.
    span: Option<Context>,
}

impl Request {
    /// A request whose head was there at `arrived`, as part of its caller's trace if there is one.
    pub fn begin(arrived: Instant, caller: Option<Caller>, facts: Facts<'_>) -> Self {
        let unrecorded = Self { trace_id: caller.as_ref().map(|caller| caller.0.trace_id()), span: None };
        let Some(tracer) = tracer().filter(|_| facts.interesting || caller.is_some()) else { return unrecorded };
        let route = (facts.route)();
        let method = METHODS.iter().find(|method| **method == facts.method).copied();
        let parent = caller.map_or_else(Context::new, |caller| Context::new().with_remote_span_context(caller.0));
        let clock = Clock::read();
        let span = match route {
            Some(route) => SpanBuilder::from_name(format!("{} {route}", method.unwrap_or("HTTP"))),
            None => SpanBuilder::from_name(method.unwrap_or("HTTP")),
        };
        let span = span.with_kind(SpanKind::Server).with_start_time(clock.at(arrived));
        let span = Context::new().with_value(clock).with_span(tracer.build_with_context(span, &parent));
        let context = span.span().span_context().clone();
        if !context.is_valid() {
            // The end has come.
            return unrecorded;
        }
        if !context.is_sampled() {
            return Self { trace_id: Some(context.trace_id()), span: None };
        }
        span.span().set_attributes([
            KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
            KeyValue::new("url.path", facts.path.to_string()),
            KeyValue::new("kiln.request_id", facts.id.to_string()),
        ]);
        if let Some(route) = route {
            span.span().set_attribute(KeyValue::new("http.route", route.to_string()));
        }
        Self { trace_id: Some(context.trace_id()), span: Some(span) }
    }

    /// The trace's id: the caller's, or else, where traces are sent, a fresh one.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// Runs the request's own work, of which the other functions of this room then know whose it is.
    pub async fn of<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.span {
            Some(span) => work.with_context(span.clone()).await,
            None => work.await,
        }
    }

    /// Ends the span with the answer. `outcome` is `ok`, or an error's code.
    pub fn finish(mut self, status: u16, operation: &'static str, outcome: &'static str) {
        let Some(context) = self.span.take() else { return };
        let span = context.span();
        span.set_attributes([
            KeyValue::new("http.response.status_code", i64::from(status)),
            KeyValue::new("kiln.operation", operation),
            KeyValue::new("kiln.outcome", outcome),
        ]);
        // A server is not at fault for what its clients do wrong.
        if status >= 500 {
            span.set_attribute(KeyValue::new("error.type", outcome));
            span.set_status(Status::error(outcome));
        }
        end(&context);
    }
}

impl Drop for Request {
    /// Its client has hung up.
    fn drop(&mut self) {
        if let Some(context) = &self.span {
            context.span().set_attribute(KeyValue::new("error.type", "cancelled"));
            end(context);
        }
    }
}

fn end(context: &Context) {
    if let Some(clock) = context.get::<Clock>() {
        context.span().end_with_timestamp(clock.at(Instant::now()));
    }
}

/// Records a span for each phase of one image of the current request, one right after the other, from `begun` on.
pub fn phases(begun: Instant, timings: &PhaseTimings) {
    let Some(tracer) = tracer() else { return };
    let context = Context::current();
    let Some(clock) = context.get::<Clock>() else { return };
    let mut start = begun;
    for (phase, took) in timings.nonzero() {
        let span = SpanBuilder::from_name(phase.as_str()).with_start_time(clock.at(start));
        start += took;
        tracer.build_with_context(span, &context).end_with_timestamp(clock.at(start));
    }
}
