//! The thread that owns an engine, and the handle that ends all of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc as thread_mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle as TaskHandle, spawn_blocking};
use tokio::time::Instant;

use super::admission::Admission;
use super::batch::Batch;
use super::runs::Runs;
use crate::inference::{Engine, EngineError, Output, panic_message};
use crate::readiness::Readiness;
use crate::telemetry::metrics::{self, ModelMetrics};
use crate::telemetry::traces;

/// How often an engine is asked for the memory that it has.
const MEMORY_INTERVAL: Duration = Duration::from_secs(5);

/// What an engine's thread reports after a batch.
#[derive(Debug)]
pub(super) enum Event {
    /// The engine of this index can take the next batch.
    Free(usize),
    /// It failed and is being replaced.
    Failed(usize),
    /// It was replaced, and can take the next batch.
    Recovered(usize),
    /// It failed and cannot be replaced. No engine is used again.
    Broken(EngineError),
}

/// Everything that an engine's thread owns.
pub(super) struct EngineThread {
    pub(super) index: usize,
    // The order matters when the thread ends: the end of the events tells that the engine is gone.
    pub(super) engine: Box<dyn Engine>,
    pub(super) batches: thread_mpsc::Receiver<Batch>,
    pub(super) admission: Arc<Admission>,
    pub(super) runs: Arc<Runs>,
    pub(super) readiness: Readiness,
    pub(super) metrics: ModelMetrics,
    pub(super) events: mpsc::UnboundedSender<Event>,
    /// After how long without a batch the engine checks itself; never if zero.
    pub(super) canary_interval: Duration,
    /// When it was last asked for the memory that it has.
    pub(super) memory_told: Option<Instant>,
}

impl Drop for EngineThread {
    /// If the thread ends for a reason that nobody foresaw, the scheduler must not wait for it.
    fn drop(&mut self) {
        let _ = self.events.send(Event::Broken(EngineError::Panicked("its thread has ended".to_string())));
    }
}

impl EngineThread {
    /// The thread ends when the scheduler drops its end of `batches`, as it does after an
    /// [`Event::Broken`].
    ///
    /// # Panics
    ///
    /// There is no tokio runtime, or the operating system has no thread to give.
    pub(super) fn spawn(self) -> JoinHandle<()> {
        let runtime = Handle::current();
        let name = format!("kiln-engine-{}", self.index);
        let work = move || {
            // Only for the clock: the thread and the scheduler measure time by the same one.
            let _clock = runtime.enter();
            self.work();
        };
        Builder::new().name(name).spawn(work).expect("the operating system gives a thread for the engine")
    }

    fn work(mut self) {
        loop {
            self.tell_memory();
            let done = match self.next() {
                Ok(batch) => self.run(batch),
                Err(RecvTimeoutError::Timeout) => match self.check() {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // The scheduler may be gone, with the runtime that ran it; then no batch follows either.
            match done {
                Ok(()) => drop(self.events.send(Event::Free(self.index))),
                Err(error) => match self.recover(&error) {
                    Ok(()) => drop(self.events.send(Event::Recovered(self.index))),
                    Err(()) => {
                        let _ = self.events.send(Event::Broken(error));
                        return;
                    }
                },
            }
        }
    }

    /// For the metrics, and seldom: some devices take a moment to tell.
    fn tell_memory(&mut self) {
        if self.memory_told.is_some_and(|told| told.elapsed() < MEMORY_INTERVAL) {
            return;
        }
        self.memory_told = Some(Instant::now());
        // A device that panics here fails at the next batch, where that is handled.
        if let Ok(Some((device, bytes))) = caught(|| Ok(self.engine.memory())) {
            self.metrics.device_memory(device, bytes);
        }
    }

    fn next(&self) -> Result<Batch, RecvTimeoutError> {
        if self.canary_interval.is_zero() {
            return self.batches.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        self.batches.recv_timeout(self.canary_interval)
    }

    fn run(&mut self, mut batch: Batch) -> Result<(), EngineError> {
        let (links, size, padding) = (batch.take_links(), batch.len(), self.engine.padding(batch.samples()));
        let started = Instant::now();
        let outcome = caught(|| run_counted(&mut *self.engine, &batch));
        let took = started.elapsed();
        let outcome = outcome.and_then(|rows| self.trust(&batch, rows));
        let error = outcome.as_ref().err().map(ToString::to_string);
        let answered = self.answer(batch, outcome, started, took, padding);
        // Only now: nobody waits for it.
        traces::batch(
            &traces::Run {
                begun: started.into_std(),
                took,
                model: self.metrics.model(),
                engine: self.index,
                size,
                padded: size + padding,
                error: error.as_deref(),
            },
            &links,
        );
        answered
    }

    fn answer(
        &self,
        batch: Batch,
        outcome: Result<Vec<Output>, EngineError>,
        started: Instant,
        took: Duration,
        padding: usize,
    ) -> Result<(), EngineError> {
        match outcome {
            Ok(rows) => {
                self.admission.record(batch.len(), took);
                self.runs.record(batch.len(), took);
                self.metrics.ran(batch.len(), padding, took);
                batch.answer(rows, started, took);
                Ok(())
            }
            Err(error) => {
                tracing::error!(pictures = batch.len(), %error, "a batch failed");
                // Before the answers, so that whoever sees the error sees its effect too.
                self.readiness.set_recovering(error.to_string());
                batch.fail(&error);
                Err(error)
            }
        }
    }

    /// While there is nothing else to do.
    fn check(&mut self) -> Result<(), EngineError> {
        self.canary().inspect_err(|error| self.readiness.set_recovering(error.to_string()))
    }

    fn canary(&mut self) -> Result<(), EngineError> {
        let outcome = caught(|| self.engine.check());
        metrics::canary_checked(outcome.is_ok());
        outcome.inspect_err(|error| tracing::error!(%error, "the canary failed"))
    }

    /// Rows as they are, if the engine computes rightly as far as it can tell. Where scores are not finite, either the device
    /// is sick, and no row is worth anything, or the weights are, and the other rows are right.
    fn trust(&mut self, batch: &Batch, rows: Vec<Output>) -> Result<Vec<Output>, EngineError> {
        let pictures = batch.not_finite(&rows);
        if pictures > 0 {
            self.canary()?;
            let model = self.metrics.model();
            tracing::error!(
                model,
                pictures,
                "scores are not finite, though the device computes rightly: the weights do not do"
            );
            self.readiness.fail_aside("scores of a picture are not finite");
        }
        Ok(rows)
    }

    /// Replaces the engine. Meanwhile nobody is kept waiting for it.
    fn recover(&mut self, error: &EngineError) -> Result<(), ()> {
        let _ = self.events.send(Event::Failed(self.index));
        self.turn_away();
        let started = Instant::now();
        let outcome = caught(|| self.engine.rebuild());
        metrics::device_rebuilt(outcome.is_ok());
        // What was sent before the scheduler heard of the failure.
        self.turn_away();
        match outcome {
            Ok(()) => {
                tracing::warn!(took = ?started.elapsed(), "the device was replaced");
                Ok(())
            }
            Err(reason) => {
                tracing::error!(%reason, "the device cannot be replaced");
                self.readiness.fail(format!("{error}; {reason}"));
                Err(())
            }
        }
    }

    /// Answers batches that came while the engine looked free but was not.
    fn turn_away(&self) {
        while let Ok(batch) = self.batches.try_recv() {
            batch.turn_away();
        }
    }
}

/// A panic is an error like any other: a panicked engine is replaced before it is used again.
fn caught<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(EngineError::Panicked(panic_message(&*panic))))
}

/// Lets no wrong number of rows out.
fn run_counted(engine: &mut dyn Engine, batch: &Batch) -> Result<Vec<Output>, EngineError> {
    let rows = match batch.top_k() {
        Some(top) => engine.run_ranked(batch.samples(), top)?,
        None => engine.run(batch.samples())?.into_iter().map(Output::Logits).collect(),
    };
    if rows.len() == batch.len() {
        return Ok(rows);
    }
    Err(EngineError::Device(format!("the engine returned {} rows for {} pictures", rows.len(), batch.len())))
}

/// Keeps a batcher's engines at work. Dropping it stops the batcher like [`Worker::shutdown`], but
/// waits for nothing.
#[derive(Debug)]
#[must_use = "a worker that is dropped stops its batcher"]
pub struct Worker {
    /// Dropping it tells the scheduler to stop.
    pub(super) stop: oneshot::Sender<()>,
    pub(super) scheduler: TaskHandle<()>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Takes no more pictures, runs and answers those in the queue, and ends the engines' threads.
    /// A picture that is admitted but not submitted yet finds the batcher closed.
    ///
    /// May take as long as the engines need for the queue. If the future is dropped before it is
    /// done, the rest goes on without being waited for.
    pub async fn shutdown(self) {
        drop(self.stop);
        ended(self.scheduler, self.threads).await;
    }

    /// Waits until nobody has the batcher any more and its last picture is answered, which the engines' threads do not
    /// survive. Nobody is turned away meanwhile.
    pub async fn retire(self) {
        ended(self.scheduler, self.threads).await;
        drop(self.stop);
    }
}

/// Waits for the scheduler and the engines.
async fn ended(scheduler: TaskHandle<()>, threads: Vec<JoinHandle<()>>) {
    // Neither can fail the shutdown: a task or thread that panicked has ended too. The task ends
    // after the engines, so that joining is quick and the runtime is never held up by an engine
    // that hangs.
    let _ = scheduler.await;
    let _ = spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join)).await;
}
