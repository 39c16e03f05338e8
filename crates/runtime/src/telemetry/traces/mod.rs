//! Traces: what happened to each request, told to an OpenTelemetry collector (OTLP over HTTP). Off until [`install`];
//! until then each of these functions is one look at an empty cell.
//!
//! | file | responsibility |
//! |---|---|
//! | `trace_context.rs` | the caller's place in a trace, with or without a collector |
//! | `request.rs`, `batch.rs` | the spans, and the one place that names their attributes |
//! | `clock.rs` | instants to times of day |
//! | `sampler.rs` | which traces are recorded |
//! | `config.rs` | where spans go, and how many |
//! | `count.rs` | how many ended and how many arrived |
//! | `export.rs` | sends spans, from a thread of its own |
//! | `message.rs`, `protobuf.rs` | spans to the bytes of an OTLP request |
//!
//! The bytes are written here because the crate that could, `opentelemetry-otlp`, brings prost's macros, which turn on a
//! feature of a crate that Burn's macros are built on: Burn would be built a second time.

mod batch;
mod clock;
mod config;
mod count;
mod export;
mod message;
mod protobuf;
mod request;
mod sampler;
mod trace_context;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};
use uuid::Uuid;

pub use batch::{Link, Run, batch, link};
pub use config::{Config, Endpoint, Headers, NoEndpoint, NoHeaders, NoRatio, Ratio};
use count::{Count, Counting};
use export::{Ending, Exporter};
pub use request::{Facts, Request, phases};
use sampler::Roots;
pub use trace_context::Caller;

/// How long the last spans may take to be sent at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// What makes spans, once there is somebody to send them to.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// Sends the last spans when it is dropped, for two seconds at the most.
#[derive(Debug)]
#[must_use = "without it the last spans are lost"]
pub struct Guard {
    provider: SdkTracerProvider,
    ending: Arc<Ending>,
    count: Count,
}

/// Begins to record and to send. Keep the guard until the end.
///
/// The variables of the OpenTelemetry SDK for resources (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) and for its
/// queue (`OTEL_BSP_MAX_QUEUE_SIZE` and others) hold.
pub fn install(config: &Config) -> Guard {
    let ending = Arc::new(Ending::default());
    let count = Count::default();
    let exporter = Exporter::new(config, Arc::clone(&ending), count.clone());
    let processor = BatchSpanProcessor::builder(exporter).build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Roots::new(config.sampling))))
        .with_resource(resource())
        .with_span_processor(Counting { next: processor, count: count.clone() })
        .build();
    let scope = InstrumentationScope::builder("kiln").with_version(env!("CARGO_PKG_VERSION")).build();
    // A second installation in one process (tests) keeps the first.
    let _ = TRACER.set(provider.tracer_with_scope(scope));
    tracing::info!(endpoint = %config.endpoint, sampling = %config.sampling, "traces are sent here");
    Guard { provider, ending, count }
}

/// What all spans of this process have in common.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get_ref(&Key::new("service.name")).map(ToString::to_string);
    // The SDK's word for a service that nobody named.
    let name = name.filter(|name| !name.starts_with("unknown_service")).unwrap_or_else(|| "kiln".to_string());
    let own = [
        ("service.version", env!("CARGO_PKG_VERSION").to_string()),
        ("service.instance.id", Uuid::now_v7().to_string()),
    ];
    let unnamed = own.into_iter().filter(|(key, _)| found.get_ref(&Key::new(*key)).is_none());
    let own: Vec<KeyValue> = unnamed.map(|(key, value)| KeyValue::new(key, value)).collect();
    Resource::builder().with_service_name(name).with_attributes(own).build()
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.ending.begin();
        let ended = self.provider.shutdown_with_timeout(FLUSH);
        let lost = self.count.unsettled();
        match ended {
            Err(error) if lost > 0 => tracing::warn!(%error, lost, "spans are lost at the end"),
            // Those that found no room in the SDK's queue, and those that were refused and not told yet.
            Ok(()) if lost > 0 => tracing::warn!(lost, "spans are lost: there were more than the collector took"),
            _ => {}
        }
    }
}
