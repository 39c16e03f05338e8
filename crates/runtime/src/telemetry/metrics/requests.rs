//! Requests whatever they ask for, the connections that they come by, and the bytes that they hold.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Gauge, counter, gauge, histogram};

use super::names::{CANCELLED, CONNECTIONS, INFLIGHT_BYTES, KEY_REQUESTS, REQUEST_SECONDS, REQUESTS};

/// One request was answered. `outcome` is `ok` or an error's code.
pub fn request(operation: &'static str, status: u16, outcome: &'static str, took: Duration) {
    let status = status.to_string();
    counter!(REQUESTS.name, "operation" => operation, "status" => status, "outcome" => outcome).increment(1);
    histogram!(REQUEST_SECONDS.name, "operation" => operation).record(took);
}

/// The same, by the caller's key. Keys come from the operator, so there are not many.
pub fn request_by(key: &str, outcome: &'static str) {
    counter!(KEY_REQUESTS.name, "key" => key.to_string(), "outcome" => outcome).increment(1);
}

/// Operations that classify, and how they fail without a fault of the client.
const CLASSIFYING: [&str; 5] = ["predict", "predict_raw", "predict_batch", "oip_infer", "oip_infer_version"];
const FAILURES: [(&str, &str); 7] = [
    ("500", "device_failed"),
    ("500", "internal_error"),
    ("503", "starting"),
    ("503", "unavailable"),
    ("429", "overloaded"),
    ("429", "deadline_unmeetable"),
    ("429", "deadline_passed"),
];

/// Counts them from zero on: a series that appears with a thousand failures has no rate, and no alert sees it.
pub(super) fn begin() {
    for operation in CLASSIFYING {
        for (status, outcome) in FAILURES {
            let labels = [("operation", operation), ("status", status), ("outcome", outcome)];
            counter!(REQUESTS.name, &labels).increment(0);
        }
    }
    for stage in ["decode", "queue", "device"] {
        counter!(CANCELLED.name, "stage" => stage).increment(0);
    }
    InflightBytes::begin();
}

/// A picture's client went away while it waited for a decode thread (`decode`), in the queue (`queue`), or for the device that
/// had it (`device`).
pub fn cancelled(stage: &'static str) {
    counter!(CANCELLED.name, "stage" => stage).increment(1);
}

/// Counts as one open connection until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(());

impl OpenConnection {
    /// A connection was opened.
    pub fn begin() -> Self {
        gauge!(CONNECTIONS.name).increment(1.0);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS.name).decrement(1.0);
    }
}

/// Bytes that requests under way hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InflightBytes {
    /// Of their bodies.
    Body,
    /// Of decoded pictures.
    Decoded,
}

/// Both of them, once there is a recorder: the budgets are made before, and each picture changes them four times.
static INFLIGHT: OnceLock<[Gauge; 2]> = OnceLock::new();

impl InflightBytes {
    /// From zero on.
    fn begin() {
        let gauges = ["body", "decoded"].map(|kind| gauge!(INFLIGHT_BYTES.name, "kind" => kind));
        gauges.iter().for_each(|gauge| gauge.set(0.0));
        // There is one recorder a process.
        let _ = INFLIGHT.set(gauges);
    }

    /// More are held.
    pub fn add(self, bytes: u64) {
        if let Some(gauges) = INFLIGHT.get() {
            gauges[self as usize].increment(bytes as f64);
        }
    }

    /// Fewer are.
    pub fn sub(self, bytes: u64) {
        if let Some(gauges) = INFLIGHT.get() {
            gauges[self as usize].decrement(bytes as f64);
        }
    }
}
