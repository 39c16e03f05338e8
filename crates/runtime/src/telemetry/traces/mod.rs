//! Traces: spans of requests, sent to an OpenTelemetry collector with OTLP over HTTP. Disabled until [`install`]; before it,
//! each function only reads an empty cell.

mod config;
mod export;
mod spans;
mod trace_context;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{Link, SpanKind, TraceId, TracerProvider as _};
use opentelemetry::{Context, InstrumentationScope, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SamplingResult, SdkTracerProvider, ShouldSample};
use uuid::Uuid;

pub use config::{Config, Endpoint, Headers, InvalidEndpoint, InvalidHeaders, InvalidRatio, Ratio};
use export::{CountingProcessor, Exporter, SpanStats, StopFlag};
pub use spans::{BatchRun, RequestInfo, RequestSpan, SpanLink, current_link, record_batch, record_phases};
pub use trace_context::ParentContext;

/// The maximum time to send the last spans at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends the last spans when it is dropped, for at most two seconds.
#[derive(Debug)]
#[must_use = "without the guard the last spans are lost"]
pub struct Guard {
    provider: SdkTracerProvider,
    stop: Arc<StopFlag>,
    stats: SpanStats,
}

/// Starts to record and send spans. Keep the guard until the process ends.
///
/// The environment variables of the OpenTelemetry SDK for resources (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) and
/// for its queue (`OTEL_BSP_MAX_QUEUE_SIZE` and others) apply.
pub fn install(config: &Config) -> Guard {
    let stop = Arc::new(StopFlag::default());
    let stats = SpanStats::default();
    let exporter = Exporter::new(config, Arc::clone(&stop), stats.clone());
    let processor = BatchSpanProcessor::builder(exporter).build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(RootSampler::new(config.sampling))))
        .with_resource(resource())
        .with_span_processor(CountingProcessor { next: processor, stats: stats.clone() })
        .build();
    let scope = InstrumentationScope::builder("kiln").with_version(env!("CARGO_PKG_VERSION")).build();
    // If a tracer is installed already (in tests), it stays.
    let _ = spans::TRACER.set(provider.tracer_with_scope(scope));
    tracing::info!(endpoint = %config.endpoint, sampling = %config.sampling, "sending traces");
    Guard { provider, stop, stats }
}

/// Returns the attributes that all spans of this process share.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get_ref(&Key::new("service.name")).map(ToString::to_string);
    // The SDK's default for an unnamed service.
    let name = name.filter(|name| !name.starts_with("unknown_service")).unwrap_or_else(|| "kiln".to_string());
    let own = [
        ("service.version", env!("CARGO_PKG_VERSION").to_string()),
        ("service.instance.id", Uuid::now_v7().to_string()),
    ];
    let missing = own.into_iter().filter(|(key, _)| found.get_ref(&Key::new(*key)).is_none());
    let missing: Vec<KeyValue> = missing.map(|(key, value)| KeyValue::new(key, value)).collect();
    Resource::builder().with_service_name(name).with_attributes(missing).build()
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.set();
        let result = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT);
        let dropped = self.stats.pending();
        match result {
            Err(error) if dropped > 0 => tracing::warn!(%error, dropped, "spans dropped at shutdown"),
            // The SDK's queue was full, or the last failure was not logged yet.
            Ok(()) if dropped > 0 => tracing::warn!(dropped, "spans dropped: the collector was too slow"),
            _ => {}
        }
    }
}

/// Decides whether a trace that begins here is recorded. For other traces the caller's decision applies.
///
/// It records a ratio of the traces, by their IDs, so that other services select the same ones. A batch has its own trace,
/// which is recorded if one of the linked requests is.
#[derive(Clone, Debug)]
struct RootSampler(Sampler);

impl RootSampler {
    fn new(ratio: Ratio) -> Self {
        Self(Sampler::TraceIdRatioBased(ratio.get()))
    }
}

impl ShouldSample for RootSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_linked = links.iter().any(|link| link.span_context.is_sampled());
        let sampler = if is_linked { &Sampler::AlwaysOn } else { &self.0 };
        sampler.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}
