//! Sends spans to the collector with OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>), on the thread
//! of the SDK's batch processor: no request waits for the collector.
//!
//! `opentelemetry-proto` encodes the messages. `opentelemetry-otlp` is not used for sending: its retries cannot be interrupted
//! at shutdown, and its debug lines show the endpoint's query, which may contain a secret.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use prost::Message as _;
use ureq::Agent;
use ureq::http::header::{CONTENT_TYPE, RETRY_AFTER};

use super::config::Config;
use crate::http_client::{CertificateVerification, agent_config};

/// The maximum time to send a batch of spans, including retries. The batch is dropped afterwards.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of an attempt once shutdown has begun.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(1500);
/// The pause before the first retry. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The minimum time between two log lines about dropped spans: a collector may be unreachable for long.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// The maximum size of a response. A collector's responses are far smaller.
const MAX_RESPONSE_BYTES: u64 = 1 << 16;

/// Interrupts the pauses between retries at shutdown.
#[derive(Debug, Default)]
pub(super) struct StopFlag(Mutex<bool>, Condvar);

impl StopFlag {
    pub(super) fn set(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.1.notify_all();
    }

    fn is_set(&self) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `pause`, or until the flag is set.
    fn wait(&self, pause: Duration) {
        let flag = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.1.wait_timeout_while(flag, pause, |is_set| !*is_set);
    }
}

/// Sends spans to one collector.
#[derive(Debug)]
pub(super) struct Exporter {
    agent: Agent,
    config: Config,
    resource: ResourceAttributesWithSchema,
    stop: Arc<StopFlag>,
    dropped: Mutex<DroppedSpans>,
    stats: SpanStats,
}

/// Dropped spans that were not logged yet.
#[derive(Debug, Default)]
struct DroppedSpans {
    count: usize,
    last_report: Option<Instant>,
}

/// The failure of one attempt.
struct AttemptError {
    reason: String,
    /// The minimum pause before a retry. `None` if a retry is pointless.
    retry_after: Option<Duration>,
}

impl Exporter {
    pub(super) fn new(config: &Config, stop: Arc<StopFlag>, stats: SpanStats) -> Self {
        let agent = agent_config(CertificateVerification::Platform).http_status_as_error(false);
        Self {
            agent: agent.build().into(),
            config: config.clone(),
            resource: ResourceAttributesWithSchema::default(),
            stop,
            dropped: Mutex::default(),
            stats,
        }
    }

    /// Retries until the collector accepts the body, refuses it permanently, or the timeout expires.
    fn send(&self, body: &[u8]) -> Result<(), String> {
        let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let Err(AttemptError { reason, retry_after }) = self.attempt(body, started) else { return Ok(()) };
            let Some(retry_after) = retry_after else { return Err(reason) };
            let wait = pause.max(retry_after);
            if self.stop.is_set() || started.elapsed() + wait >= EXPORT_TIMEOUT {
                return Err(reason);
            }
            self.stop.wait(wait);
            pause *= 2;
        }
    }

    fn attempt(&self, body: &[u8], started: Instant) -> Result<(), AttemptError> {
        let timeout = match self.stop.is_set() {
            true => SHUTDOWN_TIMEOUT,
            false => EXPORT_TIMEOUT.saturating_sub(started.elapsed()).max(Duration::from_millis(1)),
        };
        let request = self.agent.post(self.config.endpoint.uri()).header(CONTENT_TYPE, "application/x-protobuf");
        let request = self.config.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let sent = request.config().timeout_global(Some(timeout)).build().send(body);
        let mut response =
            sent.map_err(|error| AttemptError { reason: error.to_string(), retry_after: Some(Duration::ZERO) })?;
        // Reads the whole body, so that the connection can be reused. The content is irrelevant.
        let _ = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec();
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let is_retryable = [429, 502, 503, 504].contains(&status.as_u16());
        // The header may contain any number. A longer pause than the timeout has no effect.
        let retry_after = is_retryable.then(|| header.map_or(Duration::ZERO, Duration::from_secs).min(EXPORT_TIMEOUT));
        Err(AttemptError { reason: format!("the collector returned {status}"), retry_after })
    }

    /// Counts dropped spans, and logs their number at most once per [`REPORT_INTERVAL`].
    fn record_dropped(&self, spans: usize, reason: &str) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.count += spans;
        if dropped.last_report.is_some_and(|last| last.elapsed() < REPORT_INTERVAL) && !self.stop.is_set() {
            return;
        }
        let count = std::mem::take(&mut dropped.count);
        dropped.last_report = Some(Instant::now());
        self.stats.settle(count);
        let endpoint = &self.config.endpoint;
        let hint = endpoint.looks_like_grpc().then_some("port 4317 is for gRPC; collectors accept HTTP on port 4318");
        tracing::warn!(%endpoint, dropped = count, reason, hint, "spans dropped: the collector did not accept them");
    }
}

impl SpanExporter for Exporter {
    /// Blocks: the SDK calls it on a thread of its own.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        match self.send(&ExportTraceServiceRequest { resource_spans }.encode_to_vec()) {
            Ok(()) => self.stats.settle(count),
            Err(reason) => self.record_dropped(count, &reason),
        }
        // Failures are logged above. The SDK would log each one.
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

/// Counts spans that ended, and spans that arrived or whose loss was logged. The SDK does not report how many spans it drops
/// at shutdown. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub(super) struct SpanStats(Arc<SpanCounters>);

#[derive(Debug, Default)]
struct SpanCounters {
    ended: AtomicU64,
    settled: AtomicU64,
}

impl SpanStats {
    /// Counts spans that arrived or whose loss was logged.
    fn settle(&self, spans: usize) {
        self.0.settled.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Returns the number of spans that ended but are not settled.
    pub(super) fn pending(&self) -> u64 {
        self.0.ended.load(Ordering::Relaxed).saturating_sub(self.0.settled.load(Ordering::Relaxed))
    }
}

/// Counts the ended spans that it forwards to another processor.
#[derive(Debug)]
pub(super) struct CountingProcessor<P> {
    pub(super) next: P,
    pub(super) stats: SpanStats,
}

impl<P: SpanProcessor> SpanProcessor for CountingProcessor<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.stats.0.ended.fetch_add(u64::from(span.span_context.is_sampled()), Ordering::Relaxed);
        self.next.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

    use super::*;

    /// Drops all spans without a report, as the SDK does when its timeout expires.
    #[derive(Debug)]
    struct DroppingProcessor;

    impl SpanProcessor for DroppingProcessor {
        fn on_start(&self, _: &mut Span, _: &Context) {}
        fn on_end(&self, _: SpanData) {}
        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }
        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn recorded_spans_are_pending_until_they_are_settled() {
        let stats = SpanStats::default();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(CountingProcessor { next: DroppingProcessor, stats: stats.clone() })
            .build();
        let tracer = provider.tracer("test");
        for _ in 0..3 {
            drop(tracer.start("span"));
        }
        assert_eq!(stats.pending(), 3);
        stats.settle(2);
        assert_eq!(stats.pending(), 1);
        // Spans that are not recorded do not count.
        let unsampled = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOff)
            .with_span_processor(CountingProcessor { next: DroppingProcessor, stats: stats.clone() })
            .build();
        drop(unsampled.tracer("test").start("span"));
        assert_eq!(stats.pending(), 1);
    }
}
