//! Triton's statistics extension (`extension_statistics.md`): totals since the start. Load generators read them twice and take the
//! difference.

use std::time::UNIX_EPOCH;

use poem_openapi::Object;
use poem_openapi::types::Any;
use serde_json::{Map, Value};

use kiln_classifier::{Classifier, DurationStats};

/// Statistics of one or several models.
#[derive(Debug, Object)]
#[oai(rename = "OipStatistics")]
pub(super) struct StatisticsBody {
    /// One entry per model version.
    pub(super) model_stats: Vec<ModelStatistics>,
}

/// Statistics of one model version.
#[derive(Debug, Object)]
#[oai(rename = "OipModelStatistics")]
pub(super) struct ModelStatistics {
    /// The model's name.
    name: String,
    /// Its version.
    version: String,
    /// Time of the last response, in milliseconds since 1970; 0 before the first.
    last_inference: u64,
    /// Number of rows served.
    inference_count: u64,
    /// Number of batches that the engines ran.
    execution_count: u64,
    /// Durations by request.
    inference_stats: InferenceStatistics,
    /// Durations by batch size.
    batch_stats: Vec<BatchStatistics>,
    /// Empty: each request has one response.
    response_stats: Any<Value>,
    /// Empty.
    memory_usage: Vec<String>,
}

/// Durations of requests. The queue and compute durations add up to success.
#[derive(Debug, Object)]
#[oai(rename = "OipInferenceStatistics")]
struct InferenceStatistics {
    success: Duration,
    fail: Duration,
    /// Waiting for a decode thread and for an engine.
    queue: Duration,
    /// Decoding and resizing.
    compute_input: Duration,
    /// Running the batch on the device.
    compute_infer: Duration,
    /// From scores to classes.
    compute_output: Duration,
    cache_hit: Duration,
    cache_miss: Duration,
}

/// Batches of one size.
#[derive(Debug, Object)]
#[oai(rename = "OipBatchStatistics")]
struct BatchStatistics {
    batch_size: u64,
    compute_input: Duration,
    compute_infer: Duration,
    compute_output: Duration,
}

/// A count and a total duration.
#[derive(Clone, Copy, Debug, Object)]
#[oai(rename = "OipDuration")]
struct Duration {
    count: u64,
    ns: u64,
}

impl From<DurationStats> for Duration {
    fn from(timed: DurationStats) -> Self {
        Self { count: timed.count, ns: u64::try_from(timed.total.as_nanos()).unwrap_or(u64::MAX) }
    }
}

impl ModelStatistics {
    pub(super) fn new(classifier: &Classifier) -> Self {
        let (model, all) = (classifier.model(), classifier.statistics());
        let zero = |count| Duration { count, ns: 0 };
        let batch = |(size, runs): (usize, DurationStats)| BatchStatistics {
            batch_size: size as u64,
            compute_input: zero(runs.count),
            compute_infer: runs.into(),
            compute_output: zero(runs.count),
        };
        let last = all.last_success.and_then(|last| last.duration_since(UNIX_EPOCH).ok());
        Self {
            name: model.name().to_string(),
            version: model.version().to_string(),
            last_inference: last.map_or(0, |last| last.as_millis() as u64),
            inference_count: all.rows,
            execution_count: all.batches.values().map(|runs| runs.count).sum(),
            inference_stats: InferenceStatistics {
                success: all.success.into(),
                fail: all.fail.into(),
                queue: all.queue.into(),
                compute_input: all.input.into(),
                compute_infer: all.infer.into(),
                compute_output: all.output.into(),
                cache_hit: zero(0),
                cache_miss: zero(0),
            },
            batch_stats: all.batches.into_iter().map(batch).collect(),
            response_stats: Any(Value::Object(Map::new())),
            memory_usage: Vec::new(),
        }
    }
}
