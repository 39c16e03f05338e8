//! Which traces are recorded. A caller's decision holds; this is for traces that begin here.

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};

use super::Ratio;

/// A part of them by their ids, as other services take the same. A batch has a trace of its own; it is recorded if a
/// request that it is linked to is.
#[derive(Clone, Debug)]
pub(super) struct Roots(Sampler);

impl Roots {
    pub(super) fn new(ratio: Ratio) -> Self {
        Self(Sampler::TraceIdRatioBased(ratio.get()))
    }
}

impl ShouldSample for Roots {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let linked = links.iter().any(|link| link.span_context.is_sampled());
        let decides = if linked { &Sampler::AlwaysOn } else { &self.0 };
        decides.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}
