//! The thread that owns an engine. It runs the scheduler's commands one after the other, reports when each is done, and
//! replaces the engine if it fails.

use std::io;
use std::sync::{Arc, mpsc as thread_mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::admission::Admission;
use super::batch::{Batch, BatchStatistics};
use kiln_inference::{Engine, EngineError, Output, Sample, catch_panic};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::{self, ModelMetrics};
use kiln_runtime::telemetry::traces;

/// The minimum time between two measurements of the device's memory.
const MEMORY_INTERVAL: Duration = Duration::from_secs(5);

/// Creates a thread of this name that runs a function. [`os_thread`] is the one for every use except tests.
pub type SpawnThread = fn(String, Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>;

/// Creates a thread of the operating system.
///
/// # Errors
///
/// The operating system refuses another thread.
pub fn os_thread(name: String, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name).spawn(run)
}

/// Why a batcher does not start: the operating system refuses a thread for an engine. The fault is the server's.
#[derive(Debug, thiserror::Error)]
#[error("the operating system refuses a thread for engine {engine}: {reason}")]
pub struct StartError {
    /// The index of the engine.
    pub engine: usize,
    /// The operating system's error.
    pub reason: io::Error,
}

/// A command of the scheduler. A thread has at most one at a time.
#[derive(Debug)]
pub(super) enum EngineCommand {
    /// Run a batch and send its results.
    Run(Batch),
    /// Run a self-test: does the engine still compute correct results?
    SelfTest,
}

/// What the thread reports to the scheduler.
#[derive(Debug)]
pub(super) enum EngineEvent {
    /// The engine with this index is idle.
    Idle(usize),
    /// The engine failed and is being replaced.
    Failed(usize),
    /// The engine was replaced and is idle.
    Recovered(usize),
    /// The engine failed and cannot be replaced. No engine is used again.
    Broken(EngineError),
}

/// Everything that an engine's thread owns.
pub(super) struct EngineThread {
    pub(super) index: usize,
    // Fields are dropped in this order. The engine comes before the events, because the scheduler takes the end of the
    // events as the end of the engine.
    pub(super) engine: PanicGuard,
    /// Unbounded, but holds at most one command: the scheduler sends the next one after the event of the last one.
    pub(super) commands: thread_mpsc::Receiver<EngineCommand>,
    pub(super) admission: Arc<Admission>,
    pub(super) statistics: Arc<BatchStatistics>,
    pub(super) readiness: Readiness,
    pub(super) metrics: ModelMetrics,
    /// Unbounded, but a command has at most two events, and there is one command at a time.
    pub(super) events: mpsc::UnboundedSender<EngineEvent>,
    /// When the device's memory was last measured.
    pub(super) memory_measured: Option<Instant>,
}

impl Drop for EngineThread {
    /// Reports the end of the thread, so that the scheduler does not wait for it after an unexpected panic.
    fn drop(&mut self) {
        self.report(EngineEvent::Broken(EngineError::Panicked("its thread has ended".to_string())));
    }
}

impl EngineThread {
    /// Starts the thread. It ends when the scheduler drops its sender of `commands`, or after [`EngineEvent::Broken`].
    ///
    /// # Errors
    ///
    /// The operating system refuses the thread. The engine is dropped.
    ///
    /// # Panics
    ///
    /// Panics if there is no tokio runtime.
    pub(super) fn spawn(self, spawn: SpawnThread) -> Result<JoinHandle<()>, StartError> {
        let (runtime, engine) = (Handle::current(), self.index);
        let run = move || {
            // Only for the clock: the thread and the scheduler use the same one, also if a test pauses it.
            let _clock = runtime.enter();
            self.run();
        };
        spawn(format!("kiln-engine-{engine}"), Box::new(run)).map_err(|reason| StartError { engine, reason })
    }

    fn run(mut self) {
        loop {
            self.measure_memory();
            let Ok(command) = self.commands.recv() else { return };
            let outcome = match command {
                EngineCommand::Run(batch) => self.run_batch(batch),
                EngineCommand::SelfTest => {
                    self.self_test().inspect_err(|error| self.readiness.set_recovering(error.to_string()))
                }
            };
            match outcome {
                Ok(()) => self.report(EngineEvent::Idle(self.index)),
                Err(error) => match self.rebuild(&error) {
                    Ok(()) => self.report(EngineEvent::Recovered(self.index)),
                    Err(()) => return self.report(EngineEvent::Broken(error)),
                },
            }
        }
    }

    fn report(&self, event: EngineEvent) {
        // If the scheduler was dropped with its runtime, the event has no use.
        let _ = self.events.send(event);
    }

    /// Updates the metric of the device's memory. This is rare, since some devices take a moment to answer.
    fn measure_memory(&mut self) {
        if self.memory_measured.is_some_and(|measured| measured.elapsed() < MEMORY_INTERVAL) {
            return;
        }
        self.memory_measured = Some(Instant::now());
        if let Some((device, bytes)) = self.engine.memory() {
            self.metrics.device_memory(device, bytes);
        }
    }

    fn run_batch(&mut self, mut batch: Batch) -> Result<(), EngineError> {
        let (links, size, padding) = (batch.take_links(), batch.len(), self.engine.padding(batch.samples()));
        let started = Instant::now();
        let outcome = self.engine.run(&batch);
        let took = started.elapsed();
        let outcome = outcome.and_then(|rows| self.verify(&batch, rows));
        let error = outcome.as_ref().err().map(ToString::to_string);
        let outcome = self.respond(batch, outcome, started, took, padding);
        // The span is recorded after the results are sent, so that it delays no client.
        traces::record_batch(
            &traces::BatchRun {
                started: started.into_std(),
                duration: took,
                model: self.metrics.model(),
                engine: self.index,
                size,
                padded: size + padding,
                error: error.as_deref(),
            },
            &links,
        );
        outcome
    }

    fn respond(
        &self,
        batch: Batch,
        outcome: Result<Vec<Output>, EngineError>,
        started: Instant,
        took: Duration,
        padding: usize,
    ) -> Result<(), EngineError> {
        match outcome {
            Ok(rows) => {
                self.admission.record_batch(batch.len(), took);
                self.statistics.record(batch.len(), took);
                self.metrics.batch_completed(batch.len(), padding, took);
                batch.respond(rows, started, took);
                Ok(())
            }
            Err(error) => {
                tracing::error!(images = batch.len(), %error, "batch failed");
                // Before the results, so that a client that sees the error also sees the changed readiness.
                self.readiness.set_recovering(error.to_string());
                batch.fail(&error);
                Err(error)
            }
        }
    }

    fn self_test(&mut self) -> Result<(), EngineError> {
        let outcome = self.engine.self_test();
        metrics::self_test(outcome.is_ok());
        outcome.inspect_err(|error| tracing::error!(%error, "self-test failed"))
    }

    /// Returns the rows of a batch. If scores are not finite, a self-test finds the cause: either the device is faulty,
    /// and no row may be used, or the weights are, and the finite rows are correct.
    fn verify(&mut self, batch: &Batch, rows: Vec<Output>) -> Result<Vec<Output>, EngineError> {
        let images = batch.count_not_finite(&rows);
        if images > 0 {
            self.self_test()?;
            let model = self.metrics.model();
            tracing::error!(
                model,
                images,
                "scores are not finite although the device passes its self-test; the weights are probably corrupt"
            );
            self.readiness.fail_optional("the scores of an image are not finite");
        }
        Ok(rows)
    }

    /// Replaces the engine. The scheduler gives it no batch in the meantime.
    fn rebuild(&mut self, error: &EngineError) -> Result<(), ()> {
        self.report(EngineEvent::Failed(self.index));
        let started = Instant::now();
        let outcome = self.engine.rebuild();
        metrics::device_rebuilt(outcome.is_ok());
        match outcome {
            Ok(()) => {
                tracing::warn!(took = ?started.elapsed(), "device replaced");
                Ok(())
            }
            Err(reason) => {
                tracing::error!(%reason, "device cannot be replaced");
                self.readiness.fail(format!("{error}; {reason}"));
                Err(())
            }
        }
    }
}

/// Wraps an engine: turns panics and wrong row counts into errors. After an error the engine must be rebuilt before it
/// is used again.
pub(super) struct PanicGuard(Box<dyn Engine>);

impl PanicGuard {
    pub(super) fn new(engine: Box<dyn Engine>) -> Self {
        Self(engine)
    }

    /// Runs a batch and returns one row per image, in the same order.
    fn run(&mut self, batch: &Batch) -> Result<Vec<Output>, EngineError> {
        let rows = catch_panic(|| match batch.top_k() {
            Some(top) => self.0.run_top_k(batch.samples(), top),
            None => Ok(self.0.run(batch.samples())?.into_iter().map(Output::Logits).collect()),
        })?;
        if rows.len() == batch.len() {
            return Ok(rows);
        }
        Err(EngineError::Device(format!("the engine returned {} rows for {} images", rows.len(), batch.len())))
    }

    /// Runs the engine's self-test.
    fn self_test(&mut self) -> Result<(), EngineError> {
        catch_panic(|| self.0.self_test())
    }

    /// Rebuilds the engine after a failure.
    fn rebuild(&mut self) -> Result<(), EngineError> {
        catch_panic(|| self.0.rebuild())
    }

    /// Returns how many rows the engine computes beyond those of the samples. After a panic it returns 0; the batch
    /// itself then fails and is handled there.
    fn padding(&self, samples: &[Sample]) -> usize {
        catch_panic(|| Ok(self.0.padding(samples))).unwrap_or_default()
    }

    /// Returns the device's name and the bytes that its allocator holds, if the engine knows them.
    fn memory(&self) -> Option<(String, u64)> {
        catch_panic(|| Ok(self.0.memory())).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_inference::Logits;

    struct PanickingEngine;

    impl Engine for PanickingEngine {
        fn run(&mut self, _batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
            panic!("run")
        }

        fn padding(&self, _batch: &[Sample]) -> usize {
            panic!("padding")
        }

        fn memory(&self) -> Option<(String, u64)> {
            panic!("memory")
        }

        fn self_test(&mut self) -> Result<(), EngineError> {
            panic!("check")
        }

        fn rebuild(&mut self) -> Result<(), EngineError> {
            panic!("rebuild")
        }
    }

    #[test]
    fn panics_become_errors_or_default_values() {
        let mut engine = PanicGuard::new(Box::new(PanickingEngine));
        let panicked = |what: &str| EngineError::Panicked(what.to_string());
        let empty = Batch::new(Vec::new(), Instant::now());
        assert_eq!(engine.run(&empty), Err(panicked("run")));
        assert_eq!((engine.self_test(), engine.rebuild()), (Err(panicked("check")), Err(panicked("rebuild"))));
        assert_eq!((engine.padding(&[]), engine.memory()), (0, None));
    }
}
