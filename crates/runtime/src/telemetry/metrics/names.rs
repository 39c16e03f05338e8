//! Every metric that the server shows: name, kind, unit, labels and help. Nothing else names one; docs/metrics.md's table is
//! written from here, and a test holds the dashboard, the rules and a real scrape to it.
//!
//! Native names follow Prometheus' conventions (base units, `_total` for counters). `nv_inference_*` are those of Triton
//! (docs/user_guide/metrics.md of its server), for dashboards and autoscalers that read them already; `process_*` those of
//! Prometheus' own client libraries.

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The labels of its series.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence.
    pub help: &'static str,
}

/// What a metric is, as Prometheus tells them apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only grows while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Observations in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// Upper bounds of durations, in seconds: 100 us to 10 s, four a decade.
const SECONDS: &[f64] = &[
    0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0,
    3.0, 5.0, 10.0,
];
/// Upper bounds of batch sizes, in pictures.
const PICTURES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(
    name: &'static str,
    bounds: &'static [f64],
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(bounds), labels, help }
}

macro_rules! metrics {
    ($($constant:ident = $metric:expr;)*) => {
        $(pub(super) const $constant: Metric = $metric;)*

        /// All of them, in the order of the table.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    // Requests.
    REQUESTS = counter("kiln_requests_total", &["operation", "status", "outcome"], "Requests answered; the outcome is 'ok' or an error's code.");
    REQUEST_SECONDS = histogram("kiln_request_duration_seconds", SECONDS, &["operation"], "Time from a request's head to its answer.");
    KEY_REQUESTS = counter("kiln_key_requests_total", &["key", "outcome"], "Requests by the id of the caller's key: 'default' for the server's own, 'token' for all tokens.");
    CONNECTIONS = gauge("kiln_open_connections", &[], "Connections that are open.");
    INFLIGHT_BYTES = gauge("kiln_inflight_bytes", &["kind"], "Bytes held for requests under way: bodies ('body') and decoded pictures ('decoded').");
    // The way of a picture.
    PHASE_SECONDS = histogram("kiln_phase_duration_seconds", SECONDS, &["model", "phase"], "Time of each phase of a picture that was answered; they add up to the phase 'total'.");
    INSIDE = gauge("kiln_inflight_images", &["model"], "Pictures admitted and not answered yet: decoding, waiting and running.");
    CAPACITY = gauge("kiln_queue_capacity", &["model"], "The most pictures that the stable version admits at once. One that runs beside it admits as many again.");
    QUEUE_DEPTH = gauge("kiln_queue_depth", &["model"], "Pictures waiting for an engine.");
    DROPPED = counter("kiln_dropped_total", &["model", "reason"], "Pictures that left the queue without being run, other than by their client: 'deadline'.");
    CANCELLED = counter("kiln_cancelled_total", &["stage"], "Pictures whose client went away while they waited for a decode thread ('decode'), in the queue ('queue') or ran ('device').");
    // Kept answers.
    CACHE_REQUESTS = counter("kiln_cache_requests_total", &["model", "outcome"], "Pictures asked of a server that keeps answers: 'hit', 'miss', 'coalesced' with one under way, or 'bypassed' because the client wanted it so.");
    CACHE_ENTRIES = gauge("kiln_cache_entries", &[], "Answers that are kept.");
    CACHE_BYTES = gauge("kiln_cache_bytes", &[], "Bytes that they take.");
    // Batches.
    BATCHES = counter("kiln_batches_total", &["model", "reason"], "Batches given to engines, by why they went just then.");
    BATCH_SIZE = histogram("kiln_batch_size", PICTURES, &["model"], "Pictures in each batch.");
    BATCH_SECONDS = histogram("kiln_batch_duration_seconds", SECONDS, &["model"], "Time that an engine worked on a batch; the sum's rate is the number of engines busy.");
    PADDING = counter("kiln_padding_images_total", &["model"], "Rows that were computed only to fill a batch up to a size that the device is ready for.");
    ENGINES = gauge("kiln_engines", &["model"], "Engines that share the queue of the stable version.");
    // The device.
    DEVICE_MEMORY = gauge("kiln_device_memory_bytes", &["model", "device"], "Bytes that the device's allocator holds; only of devices that tell.");
    CANARIES = counter("kiln_self_test_total", &["outcome"], "Canaries run on idle devices: 'ok' or 'failed'.");
    REBUILDS = counter("kiln_device_rebuilds_total", &["outcome"], "Attempts to replace a device that failed: 'recovered' or 'failed'.");
    DEVICE_INFO = gauge("kiln_device_info", &["model", "device", "api", "driver", "compiler", "precision", "kernels"], "Always 1; what a model runs on, and how.");
    // Feedback, where a server has --data-dir. "Last" and "first" are a thousand predictions each.
    RECORDED = counter("kiln_predictions_recorded_total", &["model", "version"], "Predictions that were recorded.");
    FEEDBACK = counter("kiln_feedback_total", &["model", "version", "verdict"], "Feedback that was stored: 'right', 'wrong', or the true class ('label').");
    ACCURACY = gauge("kiln_feedback_accuracy", &["model", "version"], "The part of the last judged predictions that was right; NaN before the first.");
    CONFIDENCE_DRIFT = gauge("kiln_confidence_drift", &["model", "version"], "Mean top-1 probability of the last predictions minus that of the first that were recorded.");
    CLASS_DRIFT = gauge("kiln_class_drift", &["model", "version"], "Jensen-Shannon divergence of the predicted classes, the last against the first, in bits: 0 is the same mix, 1 another.");
    NOT_KEPT = counter("kiln_records_dropped_total", &["what", "reason"], "Predictions, feedback and pictures that could not be kept: no room in the queue ('queue_full'), not written ('failed'), or the server ends ('closed').");
    KEPT_PICTURES = gauge("kiln_stored_images_bytes", &[], "Bytes of all pictures that are kept for feedback.");
    // The server.
    READY = gauge("kiln_ready", &[], "1 while requests are welcome.");
    READINESS = gauge("kiln_readiness", &["state"], "1 for the state that the server is in: 'starting', 'ready', 'recovering', 'draining' or 'failed'.");
    STARTUP_SECONDS = gauge("kiln_startup_seconds", &["phase"], "Time that each phase of the start took, summed over models and devices.");
    LOG_LINES_LOST = counter("kiln_log_lines_dropped_total", &[], "Log lines lost because nobody read them fast enough or they could not be written.");
    BUILD_INFO = gauge("kiln_build_info", &["version", "model", "model_version"], "Always 1; which program runs, and which models were built in, by the version of their own weights.");
    // Versions.
    VERSION_INFO = gauge("kiln_model_version_info", &["model", "version", "label"], "1 for a version that is loaded and has the label 'stable', 'canary' or 'shadow', 0 for one that had.");
    SWAPS = counter("kiln_model_reloads_total", &["model", "outcome"], "What became of versions that were given a label while the server ran: 'swapped' (it is stable now), 'refused' (it does not load, or computes wrongly), 'withdrawn' (a canary or shadow that broke).");
    SHADOW_COMPARED = counter("kiln_shadow_compared_total", &["model", "version", "agrees"], "Pictures that a shadow was asked too, by whether its most probable class was that of the stable version.");
    // As Triton names them; times in microseconds.
    NV_SUCCESS = counter("nv_inference_request_success", &["model", "version"], "Requests of a model that were answered.");
    NV_FAILURE = counter("nv_inference_request_failure", &["model", "version", "reason"], "Requests of a model that were not: 'REJECTED', 'CANCELED', 'BACKEND' or 'OTHER'.");
    NV_COUNT = counter("nv_inference_count", &["model", "version"], "Pictures that were run.");
    NV_EXEC_COUNT = counter("nv_inference_exec_count", &["model", "version"], "Batches that were run.");
    NV_REQUEST_US = counter("nv_inference_request_duration_us", &["model", "version"], "Time of answered requests in all, in microseconds.");
    NV_QUEUE_US = counter("nv_inference_queue_duration_us", &["model", "version"], "Of that, waiting.");
    NV_INPUT_US = counter("nv_inference_compute_input_duration_us", &["model", "version"], "Of that, decoding and resizing.");
    NV_INFER_US = counter("nv_inference_compute_infer_duration_us", &["model", "version"], "Of that, the engine's work.");
    NV_OUTPUT_US = counter("nv_inference_compute_output_duration_us", &["model", "version"], "Of that, ranking and labels.");
    NV_PENDING = gauge("nv_inference_pending_request_count", &["model", "version"], "Pictures waiting for an engine.");
    // The process, taken when it is asked for, at most once a second.
    PROCESS_CPU = counter("process_cpu_seconds_total", &[], "Processor time of the process, in whole seconds.");
    PROCESS_RESIDENT = gauge("process_resident_memory_bytes", &[], "Memory that the process has in RAM.");
    PROCESS_VIRTUAL = gauge("process_virtual_memory_bytes", &[], "Address space of the process.");
    PROCESS_VIRTUAL_MAX = gauge("process_virtual_memory_max_bytes", &[], "The most address space that the system lets it have.");
    PROCESS_FDS = gauge("process_open_fds", &[], "Files and sockets that are open.");
    PROCESS_MAX_FDS = gauge("process_max_fds", &[], "The most files and sockets that may be open.");
    PROCESS_START = gauge("process_start_time_seconds", &[], "When the process began, in seconds since 1970.");
    PROCESS_THREADS = gauge("process_threads", &[], "Threads of the process.");
}
