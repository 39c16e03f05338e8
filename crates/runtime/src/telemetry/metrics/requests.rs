//! Requests of all operations, their connections, the bytes that they hold, and the response cache.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Gauge, counter, gauge, histogram};

use super::definitions::{
    CACHE_BYTES, CACHE_ENTRIES, CANCELLED, INFLIGHT_BYTES, KEY_REQUESTS, OPEN_CONNECTIONS, REQUEST_SECONDS, REQUESTS,
};

/// Operations that run a model on images.
const CLASSIFYING: [&str; 7] =
    ["predict", "predict_raw", "predict_batch", "embed", "embed_raw", "oip_infer", "oip_infer_version"];
/// Status and error code of their failures that are not the client's fault.
const FAILURES: [(&str, &str); 7] = [
    ("500", "device_failed"),
    ("500", "internal_error"),
    ("503", "starting"),
    ("503", "unavailable"),
    ("429", "overloaded"),
    ("429", "deadline_unmeetable"),
    ("504", "deadline_passed"),
];

/// Creates counters that start at zero. A series that appears with a thousand failures has no rate, and no alert sees
/// them.
pub(super) fn init() {
    for operation in CLASSIFYING {
        for (status, outcome) in FAILURES {
            let labels = [("operation", operation), ("status", status), ("outcome", outcome)];
            counter!(REQUESTS.name, &labels).increment(0);
        }
    }
    for stage in ["decode", "queue", "device"] {
        counter!(CANCELLED.name, "stage" => stage).increment(0);
    }
    InflightBytes::init();
}

/// Counts an answered request. `outcome` is `ok` or an error code.
pub fn request(operation: &'static str, status: u16, outcome: &'static str, duration: Duration) {
    let status = status.to_string();
    counter!(REQUESTS.name, "operation" => operation, "status" => status, "outcome" => outcome).increment(1);
    histogram!(REQUEST_SECONDS.name, "operation" => operation).record(duration);
}

/// Counts an answered request of an API key. The operator configures the keys, so their number is bounded.
pub fn request_by_key(key: &str, outcome: &'static str) {
    counter!(KEY_REQUESTS.name, "key" => key.to_string(), "outcome" => outcome).increment(1);
}

/// Counts an image whose client disconnected while the image waited for a decode thread or its memory (`decode`), waited
/// in the queue (`queue`), or ran on the device (`device`).
pub fn cancelled(stage: &'static str) {
    counter!(CANCELLED.name, "stage" => stage).increment(1);
}

/// Counts as one open connection until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(());

impl OpenConnection {
    /// Counts a connection.
    #[expect(clippy::new_without_default, reason = "each value counts as a connection")]
    pub fn new() -> Self {
        gauge!(OPEN_CONNECTIONS.name).increment(1.0);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(OPEN_CONNECTIONS.name).decrement(1.0);
    }
}

/// Bytes that requests in flight hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InflightBytes {
    /// Bytes of request bodies.
    Body,
    /// Bytes of decoded images.
    Decoded,
}

/// Both gauges, set once the recorder is installed. The budgets that change them are created earlier, and each image
/// changes them four times.
static INFLIGHT: OnceLock<[Gauge; 2]> = OnceLock::new();

impl InflightBytes {
    fn init() {
        let gauges = ["body", "decoded"].map(|kind| gauge!(INFLIGHT_BYTES.name, "kind" => kind));
        gauges.iter().for_each(|gauge| gauge.set(0.0));
        // A process has only one recorder.
        let _ = INFLIGHT.set(gauges);
    }

    /// Adds bytes.
    pub fn add(self, bytes: u64) {
        if let Some(gauges) = INFLIGHT.get() {
            gauges[self as usize].increment(bytes as f64);
        }
    }

    /// Subtracts bytes.
    pub fn sub(self, bytes: u64) {
        if let Some(gauges) = INFLIGHT.get() {
            gauges[self as usize].decrement(bytes as f64);
        }
    }
}

/// The size of the response cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    entries: Gauge,
    bytes: Gauge,
}

impl CacheMetrics {
    /// Creates the series of an empty cache. If no recorder is installed yet, they record nothing.
    #[expect(clippy::new_without_default, reason = "it creates series in a process-wide recorder")]
    pub fn new() -> Self {
        let metrics = Self { entries: gauge!(CACHE_ENTRIES.name), bytes: gauge!(CACHE_BYTES.name) };
        metrics.set_size(0, 0);
        metrics
    }

    /// Sets the number of cached responses and their total size.
    pub fn set_size(&self, entries: u64, bytes: u64) {
        self.entries.set(entries as f64);
        self.bytes.set(bytes as f64);
    }
}
