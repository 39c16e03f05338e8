//! Sends spans to the collector, from the thread of the SDK's batch processor: whatever the collector does, no request
//! waits for it. The protocol is OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio_rustls::rustls::crypto::ring;
use ureq::Agent;
use ureq::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ureq::tls::{RootCerts, TlsConfig};

use super::count::Count;
use super::{Config, message};

/// How long one batch of spans is tried for; then it is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same once the end has begun.
const LAST_PATIENCE: Duration = Duration::from_millis(1500);
/// Before the second try; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How often lost spans are told.
const TELL_INTERVAL: Duration = Duration::from_secs(60);
/// Far above any answer of a collector.
const MOST_BYTES: u64 = 1 << 16;

/// Tells that the process ends: no more pauses.
#[derive(Debug, Default)]
pub(super) struct Ending(Mutex<bool>, Condvar);

impl Ending {
    pub(super) fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.1.notify_all();
    }

    fn has_begun(&self) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long, or until the end begins.
    fn wait(&self, pause: Duration) {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.1.wait_timeout_while(begun, pause, |begun| !*begun);
    }
}

/// The way to one collector.
#[derive(Debug)]
pub(super) struct Exporter {
    agent: Agent,
    config: Config,
    resource: Resource,
    ending: Arc<Ending>,
    losses: Mutex<Losses>,
    count: Count,
}

/// Spans that were lost and not told of yet.
#[derive(Debug, Default)]
struct Losses {
    spans: usize,
    told: Option<Instant>,
}

/// Why spans did not arrive.
struct Refused {
    reason: String,
    /// Whether they may be taken later, and when at the soonest.
    again: Option<Duration>,
}

impl Exporter {
    pub(super) fn new(config: &Config, ending: Arc<Ending>, count: Count) -> Self {
        // The certificates that the machine trusts, an organisation's own among them.
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
        let agent = Agent::config_builder().tls_config(tls.build()).max_redirects(0).http_status_as_error(false);
        Self {
            agent: agent.build().into(),
            config: config.clone(),
            resource: Resource::builder_empty().build(),
            ending,
            losses: Mutex::default(),
            count,
        }
    }

    /// Tries until the collector has taken it, refuses it for good, or patience is at its end.
    fn send(&self, body: &[u8]) -> Result<(), String> {
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let Err(Refused { reason, again }) = self.try_once(body, begun) else { return Ok(()) };
            let Some(soonest) = again else { return Err(reason) };
            let wait = pause.max(soonest);
            if self.ending.has_begun() || begun.elapsed() + wait >= PATIENCE {
                return Err(reason);
            }
            self.ending.wait(wait);
            pause *= 2;
        }
    }

    fn try_once(&self, body: &[u8], begun: Instant) -> Result<(), Refused> {
        let most = if self.ending.has_begun() { LAST_PATIENCE } else { PATIENCE.saturating_sub(begun.elapsed()) };
        let request = self.agent.post(self.config.endpoint.uri()).header(CONTENT_TYPE, "application/x-protobuf");
        let request = self.config.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let sent = request.config().timeout_global(Some(most.max(Duration::from_millis(1)))).build().send(body);
        let mut answer = sent.map_err(|error| Refused { reason: error.to_string(), again: Some(Duration::ZERO) })?;
        // Read to its end, so that the connection can be used again; it says nothing that could be acted on.
        let _ = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let may_return = [429, 502, 503, 504].contains(&status.as_u16());
        // A collector may name any number; nothing is tried again after so long.
        let again = may_return.then(|| after.map_or(Duration::ZERO, Duration::from_secs).min(PATIENCE));
        Err(Refused { reason: format!("it answers {status}"), again })
    }

    /// Says so now and then, not each time: a collector may be away for long.
    fn lost(&self, spans: usize, reason: &str) {
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.spans += spans;
        if losses.told.is_some_and(|told| told.elapsed() < TELL_INTERVAL) && !self.ending.has_begun() {
            return;
        }
        let (endpoint, lost) = (&self.config.endpoint, std::mem::take(&mut losses.spans));
        losses.told = Some(Instant::now());
        self.count.settle(lost);
        let hint = if endpoint.looks_like_grpc() { "; 4317 is for gRPC, collectors take HTTP at 4318" } else { "" };
        tracing::warn!(%endpoint, lost, "spans are lost, the collector does not take them: {reason}{hint}");
    }
}

impl SpanExporter for Exporter {
    /// Waits: it is called on a thread that is there for it.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        match self.send(&message::request(&self.resource, &batch)) {
            Ok(()) => self.count.settle(batch.len()),
            Err(reason) => self.lost(batch.len(), &reason),
        }
        // What is lost was told; the SDK would log each time.
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}
