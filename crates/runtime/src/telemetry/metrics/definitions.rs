//! Every metric of the server: name, kind, unit, labels and help. No other module names a metric.
//!
//! The table in docs/metrics.md is generated from here, and a test compares the dashboard, the rules and a real scrape with it.
//! Kiln's own names follow the conventions of Prometheus (base units, `_total` for counters). `nv_inference_*` are the names
//! of Triton Inference Server (docs/user_guide/metrics.md), which existing dashboards and autoscalers read. `process_*` are
//! the names of Prometheus' client libraries.

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// The labels of its series.
    pub labels: &'static [&'static str],
    /// Its meaning, in one sentence.
    pub help: &'static str,
}

/// The kind of a metric, in Prometheus' terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A value that only grows while the process runs.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Observations in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// Upper bounds of durations, in seconds: 100 us to 10 s, four per decade.
const SECONDS: &[f64] = &[
    0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0,
    3.0, 5.0, 10.0,
];
/// Upper bounds of batch sizes, in images.
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

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

        /// All metrics, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    // Requests.
    REQUESTS = counter("kiln_requests_total", &["operation", "status", "outcome"], "Answered requests; the outcome is 'ok' or an error code.");
    REQUEST_SECONDS = histogram("kiln_request_duration_seconds", SECONDS, &["operation"], "Time from a request's head to its response.");
    KEY_REQUESTS = counter("kiln_key_requests_total", &["key", "outcome"], "Answered requests by the ID of the API key: 'default' for the server's own key, 'token' for all tokens.");
    OPEN_CONNECTIONS = gauge("kiln_open_connections", &[], "Open connections.");
    INFLIGHT_BYTES = gauge("kiln_inflight_bytes", &["kind"], "Bytes that requests in flight hold: request bodies ('body') and decoded images ('decoded').");
    // Images.
    PHASE_SECONDS = histogram("kiln_phase_duration_seconds", SECONDS, &["model", "phase"], "Time of each phase of an answered image; the phases add up to the phase 'total'.");
    INFLIGHT_IMAGES = gauge("kiln_inflight_images", &["model"], "Admitted images that are not answered yet: decoding, waiting or running.");
    QUEUE_CAPACITY = gauge("kiln_queue_capacity", &["model"], "Maximum number of images that the stable version admits at once. A version that runs beside it admits the same number in addition.");
    QUEUE_DEPTH = gauge("kiln_queue_depth", &["model"], "Images that wait for an engine.");
    DROPPED = counter("kiln_dropped_total", &["model", "reason"], "Images that the server removed from the queue without running them: their deadline passed ('deadline').");
    CANCELLED = counter("kiln_cancelled_total", &["stage"], "Images whose client disconnected while the image waited for a decode thread or its memory ('decode'), waited in the queue ('queue') or ran on the device ('device').");
    // The response cache.
    CACHE_REQUESTS = counter("kiln_cache_requests_total", &["model", "outcome"], "Lookups in the response cache, if it is enabled: 'hit', 'miss', 'coalesced' with an identical request in flight, or 'bypassed' at the client's request.");
    CACHE_ENTRIES = gauge("kiln_cache_entries", &[], "Responses in the cache.");
    CACHE_BYTES = gauge("kiln_cache_bytes", &[], "Bytes of the responses in the cache.");
    // Batches.
    BATCHES = counter("kiln_batches_total", &["model", "reason"], "Batches given to engines, by the reason for dispatching them.");
    BATCH_SIZE = histogram("kiln_batch_size", BATCH_SIZES, &["model"], "Images per batch.");
    BATCH_SECONDS = histogram("kiln_batch_duration_seconds", SECONDS, &["model"], "Time that an engine worked on a batch; the rate of the sum is the number of busy engines.");
    PADDING_IMAGES = counter("kiln_padding_images_total", &["model"], "Rows computed only to fill a batch up to a size that the device is prepared for.");
    ENGINES = gauge("kiln_engines", &["model"], "Engines that serve the queue of the stable version.");
    // Devices.
    DEVICE_MEMORY = gauge("kiln_device_memory_bytes", &["model", "device"], "Bytes that the device's allocator holds, for devices that report them.");
    SELF_TESTS = counter("kiln_self_test_total", &["outcome"], "Self-tests of idle devices, and of devices that returned scores that are not finite: 'ok' or 'failed'.");
    DEVICE_REBUILDS = counter("kiln_device_rebuilds_total", &["outcome"], "Attempts to replace a failed device: 'recovered' or 'failed'.");
    DEVICE_INFO = gauge("kiln_device_info", &["model", "device", "api", "driver", "compiler", "precision", "kernels"], "Always 1; the device of a model, and how the model runs on it.");
    // Feedback, with --data-dir. "Latest" and "first" mean a thousand predictions each.
    PREDICTIONS_RECORDED = counter("kiln_predictions_recorded_total", &["model", "version"], "Recorded predictions.");
    FEEDBACK = counter("kiln_feedback_total", &["model", "version", "verdict"], "Stored feedback: 'right', 'wrong', or 'label' if the client named the true class.");
    FEEDBACK_ACCURACY = gauge("kiln_feedback_accuracy", &["model", "version"], "Fraction of the latest predictions with feedback that was correct; NaN before the first feedback.");
    CONFIDENCE_DRIFT = gauge("kiln_confidence_drift", &["model", "version"], "Mean top-1 probability of the latest predictions minus that of the first recorded ones.");
    CLASS_DRIFT = gauge("kiln_class_drift", &["model", "version"], "Jensen-Shannon divergence between the predicted classes of the latest and the first predictions, in bits: 0 for equal distributions, 1 for disjoint ones.");
    RECORDS_DROPPED = counter("kiln_records_dropped_total", &["what", "reason"], "Predictions, feedback and images that were not stored: the queue was full ('queue_full'), writing failed ('failed'), or the server shuts down ('closed').");
    STORED_IMAGES_BYTES = gauge("kiln_stored_images_bytes", &[], "Bytes of all images stored for feedback.");
    // The server.
    READY = gauge("kiln_ready", &[], "1 while the server accepts requests.");
    READINESS = gauge("kiln_readiness", &["state"], "1 for the current state of the server: 'starting', 'ready', 'recovering', 'draining' or 'failed'.");
    STARTUP_SECONDS = gauge("kiln_startup_seconds", &["phase"], "Time of each startup phase, summed over models and devices.");
    LOG_LINES_DROPPED = counter("kiln_log_lines_dropped_total", &[], "Log lines dropped because the log's reader was too slow or the lines could not be written.");
    BUILD_INFO = gauge("kiln_build_info", &["version", "model", "model_version"], "Always 1; the version of the program, and the built-in models with the version of their built-in weights.");
    // Model versions.
    MODEL_VERSION_INFO = gauge("kiln_model_version_info", &["model", "version", "label"], "1 for a loaded version with the label 'stable', 'canary' or 'shadow', 0 for a version that lost the label.");
    MODEL_RELOADS = counter("kiln_model_reloads_total", &["model", "outcome"], "Versions that were given a label while the server ran: 'swapped' (it is the stable version now), 'refused' (it does not load or fails the self-test), 'withdrawn' (a canary or shadow that failed).");
    MODEL_LOAD_ERRORS = gauge("kiln_model_load_errors", &[], "Versions in the folder of --models that cannot be loaded; GET /models has the reasons.");
    SHADOW_COMPARED = counter("kiln_shadow_compared_total", &["model", "version", "agrees"], "Images that a shadow version classified, too, by whether its top class was that of the stable version.");
    // The names of Triton's metrics; times in microseconds.
    NV_SUCCESS = counter("nv_inference_request_success", &["model", "version"], "Answered requests of a model.");
    NV_FAILURE = counter("nv_inference_request_failure", &["model", "version", "reason"], "Failed requests of a model: 'REJECTED', 'CANCELED', 'BACKEND' or 'OTHER'.");
    NV_COUNT = counter("nv_inference_count", &["model", "version"], "Images that engines ran.");
    NV_EXEC_COUNT = counter("nv_inference_exec_count", &["model", "version"], "Batches that engines ran.");
    NV_REQUEST_US = counter("nv_inference_request_duration_us", &["model", "version"], "Total time of answered requests, in microseconds.");
    NV_QUEUE_US = counter("nv_inference_queue_duration_us", &["model", "version"], "Part of that time spent waiting.");
    NV_INPUT_US = counter("nv_inference_compute_input_duration_us", &["model", "version"], "Part of that time spent decoding and resizing.");
    NV_INFER_US = counter("nv_inference_compute_infer_duration_us", &["model", "version"], "Part of that time spent in the engine.");
    NV_OUTPUT_US = counter("nv_inference_compute_output_duration_us", &["model", "version"], "Part of that time spent on ranking and labels.");
    NV_PENDING = gauge("nv_inference_pending_request_count", &["model", "version"], "Images that wait for an engine.");
    // The process, collected at a scrape, at most once per second.
    PROCESS_CPU = counter("process_cpu_seconds_total", &[], "CPU time of the process, in whole seconds.");
    PROCESS_RESIDENT = gauge("process_resident_memory_bytes", &[], "Resident memory of the process.");
    PROCESS_VIRTUAL = gauge("process_virtual_memory_bytes", &[], "Virtual memory of the process.");
    PROCESS_VIRTUAL_MAX = gauge("process_virtual_memory_max_bytes", &[], "Maximum virtual memory of the process.");
    PROCESS_FDS = gauge("process_open_fds", &[], "Open file descriptors.");
    PROCESS_MAX_FDS = gauge("process_max_fds", &[], "Maximum number of open file descriptors.");
    PROCESS_START = gauge("process_start_time_seconds", &[], "Start time of the process, in seconds since 1970.");
    PROCESS_THREADS = gauge("process_threads", &[], "Threads of the process.");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the table of docs/metrics.md.
    fn table() -> String {
        let rows = ALL.iter().map(row).collect::<String>();
        format!("| metric | kind | labels | meaning |\n|---|---|---|---|\n{rows}")
    }

    fn row(metric: &Metric) -> String {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        format!("| `{}` | {kind} | {labels} | {} |\n", metric.name, metric.help)
    }

    #[test]
    fn documentation_lists_every_metric() {
        crate::doc_tables::assert_table(
            "docs/metrics.md",
            "crates/runtime/src/telemetry/metrics/definitions.rs",
            &table(),
        );
    }

    #[test]
    fn names_are_unique_and_follow_the_conventions_of_prometheus() {
        for (index, metric) in ALL.iter().enumerate() {
            let name = metric.name;
            assert!(ALL[..index].iter().all(|other| other.name != name), "{name} twice");
            assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{name}: {}", metric.help);
            // Triton's names do not follow them.
            let native = !name.starts_with("nv_");
            assert!(!native || (metric.kind == Kind::Counter) == name.ends_with("_total"), "{name}");
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{name}");
            }
        }
    }
}
