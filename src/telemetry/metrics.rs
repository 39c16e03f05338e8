//! Every metric: its name, unit, help and buckets, and the one function that records it. Nothing else names one.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

const REQUEST_SECONDS: &str = "kiln_request_duration_seconds";
const DECODE_SECONDS: &str = "kiln_decode_duration_seconds";
const QUEUE_SECONDS: &str = "kiln_queue_duration_seconds";
const INFERENCE_SECONDS: &str = "kiln_inference_duration_seconds";
const PREDICT_SECONDS: &str = "kiln_predict_duration_seconds";
const BATCH_SIZE: &str = "kiln_batch_size";
const QUEUE_DEPTH: &str = "kiln_queue_depth";
const REQUESTS: &str = "kiln_requests_total";
const KEY_REQUESTS: &str = "kiln_key_requests_total";
const DROPPED: &str = "kiln_dropped_total";
const CANCELLED: &str = "kiln_cancelled_total";
const OPEN_CONNECTIONS: &str = "kiln_open_connections";
const BUILD_INFO: &str = "kiln_build_info";
const DEVICE_INFO: &str = "kiln_device_info";
const STARTUP_SECONDS: &str = "kiln_startup_seconds";
const READY: &str = "kiln_ready";
const REBUILDS: &str = "kiln_device_rebuilds_total";
const CANARIES: &str = "kiln_canary_checks_total";

/// Upper bounds of the latency buckets, in seconds: 100 us to 10 s.
const SECONDS: [f64; 16] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the batch-size buckets, in pictures.
const PICTURES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Installs the process-wide recorder.
///
/// # Errors
///
/// A recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_string()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full(BATCH_SIZE.to_string()), &PICTURES)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    let seconds = |name, help| describe_histogram!(name, Unit::Seconds, help);
    seconds(REQUEST_SECONDS, "Time from a request's head to its answer, by operation.");
    seconds(DECODE_SECONDS, "Time to decode, orient, crop and resize one picture.");
    seconds(QUEUE_SECONDS, "Time that one picture waited for the engine.");
    seconds(INFERENCE_SECONDS, "Time that the engine worked on one batch, told once a picture.");
    seconds(PREDICT_SECONDS, "Time to classify one picture: waiting, decoding, queue and inference.");
    describe_histogram!(BATCH_SIZE, Unit::Count, "Pictures in each batch.");
    describe_gauge!(QUEUE_DEPTH, Unit::Count, "Pictures waiting for the engine.");
    describe_counter!(REQUESTS, Unit::Count, "Requests answered, by operation and outcome ('ok' or an error's code).");
    describe_counter!(
        KEY_REQUESTS,
        Unit::Count,
        "Requests answered, by the id of the caller's key ('default' for the server's own, 'token' for all tokens) and outcome."
    );
    describe_counter!(DROPPED, Unit::Count, "Pictures dropped from the queue before they ran, by reason.");
    describe_counter!(CANCELLED, Unit::Count, "Pictures whose client went away, by what they were waiting for.");
    describe_gauge!(OPEN_CONNECTIONS, Unit::Count, "Connections that are open.");
    describe_gauge!(BUILD_INFO, Unit::Count, "Always 1; the labels tell which program and models run.");
    describe_gauge!(DEVICE_INFO, Unit::Count, "Always 1; the labels tell what a model runs on, and how.");
    describe_gauge!(
        STARTUP_SECONDS,
        Unit::Seconds,
        "Time that each phase of the start took, summed over models and devices."
    );
    describe_gauge!(READY, Unit::Count, "1 while requests are welcome.");
    describe_counter!(REBUILDS, Unit::Count, "Attempts to replace a device that failed, by outcome.");
    describe_counter!(CANARIES, Unit::Count, "Canaries run on idle devices, by outcome.");
}

/// One request was answered. `outcome` is `ok` or an error's code.
pub fn request(operation: &'static str, status: u16, outcome: &'static str, took: Duration) {
    let status = status.to_string();
    counter!(REQUESTS, "operation" => operation, "status" => status, "outcome" => outcome).increment(1);
    histogram!(REQUEST_SECONDS, "operation" => operation).record(took);
}

/// The same, by the caller's key. Keys come from the operator, so there are not many.
pub fn request_by(key: &str, outcome: &'static str) {
    counter!(KEY_REQUESTS, "key" => key.to_string(), "outcome" => outcome).increment(1);
}

/// One picture was classified, or one tensor, for which there was nothing to decode.
pub fn classified(decode: Option<Duration>, queue: Duration, inference: Duration, total: Duration) {
    if let Some(decode) = decode {
        histogram!(DECODE_SECONDS).record(decode);
    }
    histogram!(QUEUE_SECONDS).record(queue);
    histogram!(INFERENCE_SECONDS).record(inference);
    histogram!(PREDICT_SECONDS).record(total);
}

/// A batch of `size` pictures went to the engine.
pub fn batch_dispatched(size: usize) {
    histogram!(BATCH_SIZE).record(size as f64);
}

/// The pictures of one batcher that wait for its engine. Several batchers add up.
#[derive(Debug, Default)]
pub struct QueueDepth(usize);

impl QueueDepth {
    /// `pictures` of this batcher wait now.
    pub fn set(&mut self, pictures: usize) {
        gauge!(QUEUE_DEPTH).increment(pictures as f64 - self.0 as f64);
        self.0 = pictures;
    }
}

/// A picture left the queue without being run: `deadline`.
pub fn dropped(reason: &'static str) {
    counter!(DROPPED, "reason" => reason).increment(1);
}

/// A picture's client went away while it waited for a decode thread (`decode`), in the queue (`queue`), or for the engine that
/// had it (`engine`).
pub fn cancelled(stage: &'static str) {
    counter!(CANCELLED, "stage" => stage).increment(1);
}

/// Counts as one open connection until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(());

impl OpenConnection {
    /// A connection was opened.
    pub fn begin() -> Self {
        gauge!(OPEN_CONNECTIONS).increment(1.0);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(OPEN_CONNECTIONS).decrement(1.0);
    }
}

/// Tells once which model runs.
pub fn build_info(model: &str, model_version: &str) {
    gauge!(
        BUILD_INFO,
        "version" => env!("CARGO_PKG_VERSION"),
        "model" => model.to_string(),
        "model_version" => model_version.to_string()
    )
    .set(1.0);
}

/// What a model runs on.
#[derive(Clone, Debug)]
pub struct DeviceLabels {
    /// The model's name.
    pub model: String,
    /// The device's name.
    pub device: String,
    /// How it is reached.
    pub api: String,
    /// Its driver, or nothing.
    pub driver: String,
    /// What compiles its kernels.
    pub compiler: String,
    /// What its tensors hold.
    pub precision: String,
    /// Whose kernels they are.
    pub kernels: String,
}

/// Tells once what a model runs on.
pub fn device_info(labels: DeviceLabels) {
    let DeviceLabels { model, device, api, driver, compiler, precision, kernels } = labels;
    gauge!(
        DEVICE_INFO,
        "model" => model,
        "device" => device,
        "api" => api,
        "driver" => driver,
        "compiler" => compiler,
        "precision" => precision,
        "kernels" => kernels
    )
    .set(1.0);
}

/// A phase of the start took that long.
pub fn startup(phase: &'static str, took: Duration) {
    gauge!(STARTUP_SECONDS, "phase" => phase).increment(took.as_secs_f64());
}

/// Whether requests are welcome.
pub fn ready(ready: bool) {
    gauge!(READY).set(if ready { 1.0 } else { 0.0 });
}

/// A device that failed was replaced, or was not.
pub fn device_rebuilt(done: bool) {
    counter!(REBUILDS, "outcome" => if done { "recovered" } else { "failed" }).increment(1);
}

/// An idle device was asked for the canary.
pub fn canary_checked(healthy: bool) {
    counter!(CANARIES, "outcome" => if healthy { "ok" } else { "failed" }).increment(1);
}
