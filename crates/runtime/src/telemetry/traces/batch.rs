//! A run of an engine, which belongs to many requests at once: a trace of its own that is linked to those of theirs.

use std::time::{Duration, Instant};

use opentelemetry::trace::{
    Link as OtherSpan, Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};

use super::clock::Clock;
use super::tracer;

/// What leads from a batch to a request that has a picture in it: nothing, where that request is not recorded.
#[derive(Clone, Debug, Default)]
pub struct Link(Option<Box<SpanContext>>);

/// To the current request.
pub fn link() -> Link {
    if tracer().is_none() {
        return Link::default();
    }
    Context::map_current(|context| {
        let span = context.span();
        Link(Some(span.span_context()).filter(|context| context.is_sampled()).cloned().map(Box::new))
    })
}

impl Link {
    /// Whether there is a request to lead to.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }
}

/// An engine's run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// When it began.
    pub begun: Instant,
    /// What it took.
    pub took: Duration,
    /// The model's name.
    pub model: &'static str,
    /// Which of the model's engines ran.
    pub engine: usize,
    /// How many pictures were in it.
    pub size: usize,
    /// How many the device worked on, padding included.
    pub padded: usize,
    /// What went wrong, if anything did.
    pub error: Option<&'a str>,
}

/// Records a run, if there is a request that it is linked to. Of more than 128 requests the SDK leaves the rest out,
/// and tells how many.
pub fn batch(run: &Run<'_>, links: &[Link]) {
    let Some(tracer) = tracer().filter(|_| !links.is_empty()) else { return };
    let clock = Clock::read();
    let attributes = [
        KeyValue::new("kiln.model", run.model),
        KeyValue::new("kiln.engine", run.engine as i64),
        KeyValue::new("kiln.batch.size", run.size as i64),
        KeyValue::new("kiln.batch.padded_size", run.padded as i64),
    ];
    let links = links.iter().filter_map(|link| link.0.as_deref());
    let links = links.map(|context| OtherSpan::new(context.clone(), Vec::new(), 0));
    let span = SpanBuilder::from_name("batch")
        .with_start_time(clock.at(run.begun))
        .with_attributes(attributes)
        .with_links(links.collect());
    let mut span = tracer.build_with_context(span, &Context::new());
    if let Some(error) = run.error {
        span.set_status(Status::error(error.to_string()));
    }
    span.end_with_timestamp(clock.at(run.begun + run.took));
}
