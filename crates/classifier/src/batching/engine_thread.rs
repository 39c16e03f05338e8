//! The thread that owns an engine: it does what the scheduler says, one thing after the other, and reports when it is done.
//! An engine that fails is replaced here.

use std::sync::{Arc, mpsc as thread_mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::admission::Admission;
use super::batch::Batch;
use super::guarded::Guarded;
use super::runs::Runs;
use kiln_inference::{EngineError, Output};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::{self, ModelMetrics};
use kiln_runtime::telemetry::traces;

/// How often an engine is asked for the memory that it has.
const MEMORY_INTERVAL: Duration = Duration::from_secs(5);

/// What an engine is to do. It is given one thing at a time.
#[derive(Debug)]
pub(super) enum Work {
    /// Run these pictures and answer their callers.
    Run(Batch),
    /// Find out whether it still computes rightly.
    Check,
}

/// What an engine's thread reports when it has done its work, or cannot.
#[derive(Debug)]
pub(super) enum Event {
    /// The engine of this index can do something else.
    Free(usize),
    /// It failed and is being replaced.
    Failed(usize),
    /// It was replaced, and can do something else.
    Recovered(usize),
    /// It failed and cannot be replaced. No engine is used again.
    Broken(EngineError),
}

/// Everything that an engine's thread owns.
pub(super) struct EngineThread {
    pub(super) index: usize,
    // The order matters when the thread ends: the end of the events tells that the engine is gone.
    pub(super) engine: Guarded,
    pub(super) work: thread_mpsc::Receiver<Work>,
    pub(super) admission: Arc<Admission>,
    pub(super) runs: Arc<Runs>,
    pub(super) readiness: Readiness,
    pub(super) metrics: ModelMetrics,
    pub(super) events: mpsc::UnboundedSender<Event>,
    /// When it was last asked for the memory that it has.
    pub(super) memory_told: Option<Instant>,
}

impl Drop for EngineThread {
    /// If the thread ends for a reason that nobody foresaw, the scheduler must not wait for it.
    fn drop(&mut self) {
        self.report(Event::Broken(EngineError::Panicked("its thread has ended".to_string())));
    }
}

impl EngineThread {
    /// The thread ends when the scheduler drops its end of `work`, as it does after an
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
            let Ok(work) = self.work.recv() else { return };
            let done = match work {
                Work::Run(batch) => self.run(batch),
                Work::Check => self.check(),
            };
            match done {
                Ok(()) => self.report(Event::Free(self.index)),
                Err(error) => match self.recover(&error) {
                    Ok(()) => self.report(Event::Recovered(self.index)),
                    Err(()) => return self.report(Event::Broken(error)),
                },
            }
        }
    }

    fn report(&self, event: Event) {
        // The scheduler may be gone, with the runtime that ran it; then nothing else is to be done either.
        let _ = self.events.send(event);
    }

    /// For the metrics, and seldom: some devices take a moment to tell.
    fn tell_memory(&mut self) {
        if self.memory_told.is_some_and(|told| told.elapsed() < MEMORY_INTERVAL) {
            return;
        }
        self.memory_told = Some(Instant::now());
        if let Some((device, bytes)) = self.engine.memory() {
            self.metrics.device_memory(device, bytes);
        }
    }

    fn run(&mut self, mut batch: Batch) -> Result<(), EngineError> {
        let (links, size, padding) = (batch.take_links(), batch.len(), self.engine.padding(batch.samples()));
        let started = Instant::now();
        let outcome = self.engine.run(&batch);
        let took = started.elapsed();
        let outcome = outcome.and_then(|rows| self.trust(&batch, rows));
        let error = outcome.as_ref().err().map(ToString::to_string);
        let answered = self.answer(batch, outcome, started, took, padding);
        // Only now: nobody waits for it.
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
                self.metrics.batch_completed(batch.len(), padding, took);
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
        let outcome = self.engine.check();
        metrics::self_test(outcome.is_ok());
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
            self.readiness.fail_optional("scores of a picture are not finite");
        }
        Ok(rows)
    }

    /// Replaces the engine. Meanwhile nobody is kept waiting for it.
    fn recover(&mut self, error: &EngineError) -> Result<(), ()> {
        self.report(Event::Failed(self.index));
        let started = Instant::now();
        let outcome = self.engine.rebuild();
        metrics::device_rebuilt(outcome.is_ok());
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
}
