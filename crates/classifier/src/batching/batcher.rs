//! The handle of a batcher, and the worker that keeps its engines running.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as thread_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle as TaskHandle, spawn_blocking};
use tokio::time::Instant;

use super::admission::{Admission, AdmitError, Admitted};
use super::batch::{BatchError, BatchOutput, BatchStatistics, DurationStats, Entry, Responder};
use super::config::Config;
use super::engine_thread::{EngineThread, PanicGuard, SpawnThread, StartError, os_thread};
use super::scheduler::{Channels, Scheduler};
use crate::options::RequestOptions;
use kiln_inference::{Engine, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::supervisor::fail_on_panic;
use kiln_runtime::telemetry::metrics::ModelMetrics;
use kiln_runtime::telemetry::traces;

/// Runs images on engines, in batches. Clones share the queue and the engines.
#[derive(Clone, Debug)]
pub struct Batcher {
    admission: Arc<Admission>,
    statistics: Arc<BatchStatistics>,
    readiness: Readiness,
    /// Unbounded, but each entry holds a permit, so the queue capacity bounds it.
    entries: mpsc::UnboundedSender<Entry>,
    /// The id of the next entry.
    next_id: Arc<AtomicU64>,
}

impl Batcher {
    /// Starts the scheduler as a task of the current tokio runtime, and one thread for each engine. They record their
    /// work to `metrics`. They end after [`Worker::shutdown`], or when the worker or every clone of the batcher is
    /// dropped. Images that are queued then still get their results.
    ///
    /// If an engine fails, panics, or fails its self-test, `readiness` changes to recovering and the engine is rebuilt
    /// ([`Engine::rebuild`]). While no engine is left, queued images get an error at once and no image is admitted. If
    /// an engine cannot be rebuilt, or hangs, readiness fails for good, no engine is used again and the batcher closes.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread. All engines are dropped, those with a thread on their thread.
    ///
    /// # Panics
    ///
    /// Panics if there is no engine, if the settings are out of range (see [`Config::validate`]), or if there is no
    /// tokio runtime with a timer.
    pub fn start(
        config: Config,
        engines: Vec<Box<dyn Engine>>,
        readiness: Readiness,
        metrics: ModelMetrics,
    ) -> Result<(Batcher, Worker), StartError> {
        Self::start_on(os_thread, config, engines, readiness, metrics)
    }

    /// Starts a batcher whose engines' threads are created by `spawn`. See [`Batcher::start`].
    ///
    /// # Errors
    ///
    /// `spawn` returns an error.
    pub fn start_on(
        spawn: SpawnThread,
        config: Config,
        engines: Vec<Box<dyn Engine>>,
        readiness: Readiness,
        metrics: ModelMetrics,
    ) -> Result<(Batcher, Worker), StartError> {
        config.validate().expect("the settings were validated");
        assert!(!engines.is_empty(), "a batcher needs an engine");
        let admission = Arc::new(Admission::new(&config, engines.len(), metrics.clone()));
        let statistics = Arc::new(BatchStatistics::default());
        let (entries, entries_out) = mpsc::unbounded_channel();
        let (events, events_out) = mpsc::unbounded_channel();
        let (stop, stop_out) = oneshot::channel();
        let start = |(index, engine)| {
            let (commands, commands_out) = thread_mpsc::channel();
            let thread = EngineThread {
                index,
                engine: PanicGuard::new(engine),
                commands: commands_out,
                admission: Arc::clone(&admission),
                statistics: Arc::clone(&statistics),
                readiness: readiness.clone(),
                metrics: metrics.clone(),
                events: events.clone(),
                memory_measured: None,
            };
            thread.spawn(spawn).map(|thread| (commands, thread))
        };
        // If a thread is refused, the commands of the others are dropped, which ends their threads.
        let started = engines.into_iter().enumerate().map(start).collect::<Result<Vec<_>, StartError>>()?;
        let (commands, threads): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        metrics.engines(commands.len(), config.queue_capacity);
        // Only the threads hold senders, so the events end with the last thread.
        drop(events);
        let channels = Channels { entries: entries_out, stop: stop_out, commands, events: events_out };
        let scheduler = Scheduler::new(&config, Arc::clone(&admission), readiness.clone(), metrics, channels);
        // Without its scheduler, the batcher would refuse every image while the server is ready.
        let scheduler = fail_on_panic("batch scheduler", readiness.clone(), scheduler.run());
        let worker = Worker { stop, scheduler: tokio::spawn(scheduler), threads };
        Ok((Self { admission, statistics, readiness, entries, next_id: Arc::default() }, worker))
    }

    /// Requests a place for one image. Returns at once; call it before the image is decoded.
    ///
    /// # Errors
    ///
    /// Returns [`AdmitError::Overloaded`] if the maximum number of images is in flight,
    /// [`AdmitError::ShareFull`] if the caller's share of the queue is full,
    /// [`AdmitError::DeadlineUnmeetable`] if the image is not expected to finish before its deadline,
    /// [`AdmitError::Recovering`] while every engine is being replaced, and
    /// [`AdmitError::Closed`] if the batcher is shutting down or its engine is broken.
    pub fn admit(&self, options: &RequestOptions) -> Result<Admitted, AdmitError> {
        self.admission.admit(options)
    }

    /// Checks whether [`Batcher::admit`] would admit an image now, without taking a place.
    ///
    /// # Errors
    ///
    /// See [`Batcher::admit`].
    pub fn check_admission(&self, options: &RequestOptions) -> Result<(), AdmitError> {
        self.admission.check(options)
    }

    /// Returns how many times the engines of the process have failed so far.
    pub fn engine_failures(&self) -> u64 {
        self.readiness.engine_failures()
    }

    /// Returns when a client that is rejected now should retry: an estimate, at least one second.
    pub fn retry_after(&self) -> Duration {
        self.admission.retry_after()
    }

    /// Runs one image as part of a batch and waits for its result.
    ///
    /// `admitted` comes from [`Batcher::admit`] of the same batcher; its permit is released just before the result is
    /// sent. An image does not start to run from its deadline on. If it starts before, the result is returned even
    /// after the deadline. Dropping the future removes the image from the queue and releases the permit. An image that
    /// already runs is not interrupted.
    ///
    /// # Errors
    ///
    /// Returns [`BatchError::DeadlinePassed`] if the deadline passed while the image waited, [`BatchError::Failed`] if
    /// the engine failed or is broken, [`BatchError::NotFinite`] if the scores are not finite although the engine
    /// passes its self-test, [`BatchError::Recovering`] if the engines failed while the image waited, and
    /// [`BatchError::Closed`] if the batcher was shut down before it accepted the image.
    pub async fn submit(
        &self,
        admitted: Admitted,
        sample: impl Into<Sample>,
        options: &RequestOptions,
    ) -> Result<BatchOutput, BatchError> {
        let Admitted { permit, prediction } = admitted;
        let (sender, result) = oneshot::channel();
        let responder = Responder { result: sender, permit, arrived: Instant::now(), link: traces::current_link() };
        let RequestOptions { top_k, deadline, priority, .. } = *options;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { id, priority, deadline, top_k, sample: sample.into(), responder };
        self.entries.send(entry).map_err(|_| BatchError::Closed)?;
        let on_cancel = NotifyOnCancel { admission: Some(&self.admission), id };
        // The sender is dropped without a result only if the runtime shuts down.
        let result = result.await.unwrap_or(Err(BatchError::Closed));
        on_cancel.disarm();
        // Recorded by the receiver, not by the engine's thread: on a busy machine the receiver continues noticeably
        // later.
        if let (Some(prediction), Ok(_) | Err(BatchError::DeadlinePassed { .. })) = (prediction, &result) {
            prediction.record_completion();
        }
        result
    }

    /// Returns the successful runs of the engines, by batch size.
    pub fn batch_statistics(&self) -> BTreeMap<usize, DurationStats> {
        self.statistics.by_batch_size()
    }

    /// Returns the maximum number of images in flight.
    pub fn capacity(&self) -> usize {
        self.admission.capacity()
    }

    /// Returns whether there are fewer images in flight than engines.
    pub fn is_idle(&self) -> bool {
        self.admission.is_idle()
    }

    /// Returns the metrics of this batcher's model.
    pub fn metrics(&self) -> &ModelMetrics {
        self.admission.metrics()
    }

    /// Returns the number of images in flight: being decoded, waiting and running.
    pub fn depth(&self) -> usize {
        self.admission.depth()
    }
}

/// Reports the image to the scheduler as cancelled if it is dropped before the result arrives, so that the image's place
/// is freed at once.
struct NotifyOnCancel<'a> {
    admission: Option<&'a Admission>,
    id: u64,
}

impl NotifyOnCancel<'_> {
    fn disarm(mut self) {
        self.admission = None;
    }
}

impl Drop for NotifyOnCancel<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.admission {
            admission.cancellations.add(self.id);
        }
    }
}

/// Keeps the engines of a batcher running. Dropping it stops the batcher like [`Worker::shutdown`], but does not wait.
#[derive(Debug)]
#[must_use = "dropping the worker stops its batcher"]
pub struct Worker {
    /// Dropping it stops the scheduler.
    stop: oneshot::Sender<()>,
    scheduler: TaskHandle<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Stops accepting images, runs those in the queue, and ends the engines' threads. An image that is admitted but
    /// not yet submitted gets [`BatchError::Closed`].
    ///
    /// This takes as long as the engines need for the queue. If the future is dropped early, the shutdown continues in
    /// the background.
    pub async fn shutdown(self) {
        drop(self.stop);
        join(self.scheduler, self.threads).await;
    }

    /// Waits until every clone of the batcher is dropped and the last image has its result, then ends the engines'
    /// threads. No image is rejected in the meantime.
    pub async fn retire(self) {
        join(self.scheduler, self.threads).await;
        drop(self.stop);
    }
}

/// Waits for the scheduler and the engines' threads.
async fn join(scheduler: TaskHandle<()>, threads: Vec<JoinHandle<()>>) {
    // Errors are ignored, since a task or thread that panicked has ended too. The task ends after the engines, so
    // joining the threads is quick, and a hung engine does not block the runtime.
    let _ = scheduler.await;
    let _ = spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join)).await;
}
