//! The process-wide recorder, and the page that shows what it has.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::names::{ALL, Kind, LOG_LINES_LOST, Metric};
use super::{requests, server};
use crate::telemetry::lost::lines_lost;

/// How long what the system tells of the process is good for: anybody may ask, and counting files takes a while where there
/// are thousands.
const FRESH: Duration = Duration::from_secs(1);

/// Shows the metrics. Cheap to clone.
#[derive(Clone)]
pub struct Exporter {
    recorded: PrometheusHandle,
    process: Arc<Mutex<Process>>,
}

struct Process {
    collector: Collector,
    asked: Option<Instant>,
}

/// Installs the process-wide recorder. What is made of the metrics before, such as a [`super::ModelMetrics`], records nothing.
///
/// # Errors
///
/// A recorder is installed already.
pub fn install() -> Result<Exporter, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL {
        if let Kind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_string()), bounds)?;
        }
    }
    let recorded = builder.install_recorder()?;
    let process = Process { collector: Collector::default(), asked: None };
    ALL.iter().for_each(describe);
    server::begin();
    requests::begin();
    Ok(Exporter { recorded, process: Arc::new(Mutex::new(process)) })
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
    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        self.ask_the_system();
        counter!(LOG_LINES_LOST.name).absolute(lines_lost());
        self.recorded.render()
    }

    /// Takes what was recorded into its buckets. To be called every few seconds, so that it does not pile up where nobody
    /// reads the metrics.
    pub fn run_upkeep(&self) {
        self.recorded.run_upkeep();
    }

    fn ask_the_system(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if process.asked.is_none_or(|asked| asked.elapsed() >= FRESH) {
            process.collector.collect();
            process.asked = Some(Instant::now());
        }
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Exporter").finish_non_exhaustive()
    }
}
