//! The process-wide recorder, and its output for `GET /metrics`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::definitions::{ALL, Kind, LOG_LINES_DROPPED, Metric};
use super::loaded_models::without_unloaded;
use super::{requests, server};
use crate::telemetry::dropped_lines::lines_dropped;

/// The minimum time between two collections of process metrics. Counting thousands of open files takes a while, and
/// any client may scrape.
const COLLECT_INTERVAL: Duration = Duration::from_secs(1);

/// Renders the metrics. Cheap to clone.
#[derive(Clone)]
pub struct Exporter {
    recorder: PrometheusHandle,
    process: Arc<Mutex<ProcessMetrics>>,
}

struct ProcessMetrics {
    collector: Collector,
    collected: Option<Instant>,
}

/// Installs the process-wide recorder. Handles created before it, such as a [`super::ModelMetrics`], record nothing.
///
/// # Errors
///
/// Returns an error if a recorder is installed already.
pub fn install() -> Result<Exporter, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL {
        if let Kind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_string()), bounds)?;
        }
    }
    let recorder = builder.install_recorder()?;
    let process = ProcessMetrics { collector: Collector::default(), collected: None };
    ALL.iter().for_each(describe);
    server::init();
    requests::init();
    Ok(Exporter { recorder, process: Arc::new(Mutex::new(process)) })
}

fn describe(metric: &Metric) {
    let unit = match metric.name {
        name if name.ends_with("_seconds") => Unit::Seconds,
        name if name.ends_with("_bytes") => Unit::Bytes,
        name if name.ends_with("_us") => Unit::Microseconds,
        _ => Unit::Count,
    };
    match metric.kind {
        Kind::Counter => describe_counter!(metric.name, unit, metric.help),
        Kind::Gauge => describe_gauge!(metric.name, unit, metric.help),
        Kind::Histogram(_) => describe_histogram!(metric.name, unit, metric.help),
    }
}

impl Exporter {
    /// Returns all metrics in Prometheus' text format, except those of models that were unloaded.
    pub fn render(&self) -> String {
        self.collect_process_metrics();
        counter!(LOG_LINES_DROPPED.name).absolute(lines_dropped());
        without_unloaded(self.recorder.render())
    }

    /// Moves recorded observations into their buckets. Call it every few seconds, so that memory stays bounded if nothing
    /// scrapes the metrics.
    pub fn run_upkeep(&self) {
        self.recorder.run_upkeep();
    }

    fn collect_process_metrics(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if process.collected.is_none_or(|collected| collected.elapsed() >= COLLECT_INTERVAL) {
            process.collector.collect();
            process.collected = Some(Instant::now());
        }
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Exporter").finish_non_exhaustive()
    }
}
