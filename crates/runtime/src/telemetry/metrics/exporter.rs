//! The process-wide recorder, and its output for `GET /metrics`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::sync::Semaphore;

use super::definitions::{ALL, Kind, LOG_LINES_DROPPED, Metric};
use super::loaded_models::without_unloaded;
use super::{requests, server};
use crate::blocking::run_blocking;
use crate::telemetry::dropped_lines::lines_dropped;

/// The minimum time between two collections of process metrics. Counting thousands of open files takes a while, and
/// any client may scrape.
const COLLECT_INTERVAL: Duration = Duration::from_secs(1);

/// Renders the metrics. Cheap to clone.
#[derive(Clone)]
pub struct Exporter {
    recorder: PrometheusHandle,
    process: Arc<Mutex<ProcessMetrics>>,
    /// Allows one rendering at a time, because each occupies a thread.
    permit: Arc<Semaphore>,
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
    let exporter = Exporter::new(builder.install_recorder()?);
    ALL.iter().for_each(describe);
    server::init();
    requests::init();
    Ok(exporter)
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
    fn new(recorder: PrometheusHandle) -> Self {
        let process = ProcessMetrics { collector: Collector::default(), collected: None };
        Self { recorder, process: Arc::new(Mutex::new(process)), permit: Arc::new(Semaphore::new(1)) }
    }

    /// Returns all metrics in Prometheus' text format, except those of models that were unloaded. They are collected and rendered
    /// on a blocking thread: a process may have thousands of open files and of series.
    pub async fn render(&self) -> String {
        let permit = Arc::clone(&self.permit).acquire_owned().await;
        let this = self.clone();
        run_blocking(move || {
            // The work holds the permit, because it continues if the client disconnects. The semaphore is never closed.
            let _permit = permit;
            this.collect_process_metrics();
            counter!(LOG_LINES_DROPPED.name).absolute(lines_dropped());
            without_unloaded(this.recorder.render())
        })
        .await
    }

    /// Moves recorded observations into their buckets. Call it every few seconds, so that memory stays bounded if nothing
    /// scrapes the metrics.
    pub async fn run_upkeep(&self) {
        let recorder = self.recorder.clone();
        run_blocking(move || recorder.run_upkeep()).await;
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

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    /// The runtime has one async thread, which the blocked collection of process metrics must not occupy.
    #[tokio::test]
    async fn slow_collection_of_process_metrics_does_not_block_the_runtime() {
        let exporter = Exporter::new(PrometheusBuilder::new().build_recorder().handle());
        let (held, gate) = (Arc::clone(&exporter.process), std::sync::mpsc::channel::<()>());
        let (locked, is_locked) = tokio::sync::oneshot::channel();
        let collection = std::thread::spawn(move || {
            let _process = held.lock().unwrap();
            locked.send(()).unwrap();
            // A test that fails does not hang: it opens the gate by dropping the sender, or the time is over.
            let _ = gate.1.recv_timeout(Duration::from_secs(20));
        });
        is_locked.await.unwrap();
        let mut page = std::pin::pin!(exporter.render());
        let started = Instant::now();
        assert!(poll!(page.as_mut()).is_pending(), "the page was rendered on the async thread");
        tokio::spawn(async {}).await.unwrap();
        assert!(started.elapsed() < Duration::from_millis(50), "another task waited for {:?}", started.elapsed());
        drop(gate.0);
        page.await;
        collection.join().unwrap();
    }
}
