//! The handle on a batcher: everything that the rest of the server does with it, and how it starts.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc as thread_mpsc};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::admission::Admission;
use super::engine_thread::EngineThread;
use super::entry::{Caller, Entry};
use super::guarded::Guarded;
use super::runs::Runs;
use super::scheduler::{Links, Scheduler};
use super::{AdmitError, Answer, Ask, BatchError, Config, Permit, Terms, Timed, Worker};
use kiln_inference::{Engine, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;
use kiln_runtime::telemetry::traces;

/// Hands pictures to engines, in batches. Clones share the queue and the engines.
#[derive(Clone, Debug)]
pub struct Batcher {
    admission: Arc<Admission>,
    runs: Arc<Runs>,
    readiness: Readiness,
    entries: mpsc::UnboundedSender<Entry>,
}

impl Batcher {
    /// Starts the scheduler as a task of the current tokio runtime, and for each engine a thread that owns it. What they do is
    /// told to `metrics`. They end after [`Worker::shutdown`], or when the worker or every clone of the batcher is dropped; what
    /// is in the queue then is still answered.
    ///
    /// An engine that fails, panics, or when idle answers its canary wrongly turns `readiness` off and is replaced
    /// ([`Engine::rebuild`]). While no engine is left, what waits is answered at once and nobody is admitted. If one cannot be
    /// replaced, or does not answer at all, readiness fails for good, no engine is used again and the batcher closes.
    ///
    /// # Panics
    ///
    /// There is no engine, the settings are out of range (see [`Config::validate`]), there is no tokio
    /// runtime with a timer, or the operating system has no thread to give.
    pub fn start(
        config: Config,
        engines: Vec<Box<dyn Engine>>,
        readiness: Readiness,
        metrics: ModelMetrics,
    ) -> (Batcher, Worker) {
        config.validate().expect("the settings were validated");
        assert!(!engines.is_empty(), "a batcher needs an engine");
        metrics.engines(engines.len(), config.queue_capacity);
        let admission = Arc::new(Admission::new(&config, engines.len(), metrics.clone()));
        let runs = Arc::new(Runs::default());
        let (entries, entries_out) = mpsc::unbounded_channel();
        let (events, events_out) = mpsc::unbounded_channel();
        let (stop, stop_out) = oneshot::channel();
        let start = |(index, engine)| {
            let (work, work_out) = thread_mpsc::channel();
            let thread = EngineThread {
                index,
                engine: Guarded::new(engine),
                work: work_out,
                admission: Arc::clone(&admission),
                runs: Arc::clone(&runs),
                readiness: readiness.clone(),
                metrics: metrics.clone(),
                events: events.clone(),
                memory_told: None,
            };
            (work, thread.spawn())
        };
        let (work, threads) = engines.into_iter().enumerate().map(start).unzip();
        // Only the threads hold on to it, so that its end tells of theirs.
        drop(events);
        let links = Links { entries: entries_out, stop: stop_out, work, events: events_out };
        let scheduler = Scheduler::new(&config, Arc::clone(&admission), readiness.clone(), metrics, links);
        (
            Self { admission, runs, readiness, entries },
            Worker { stop, scheduler: tokio::spawn(scheduler.run()), threads },
        )
    }

    /// Asks for room for one picture. Answers at once; to be asked before the picture is decoded.
    ///
    /// # Errors
    ///
    /// [`AdmitError::Overloaded`] if as many pictures as may be are inside,
    /// [`AdmitError::ShareFull`] if as many of this caller are,
    /// [`AdmitError::TooLate`] if the deadline would pass before the engines are done with it,
    /// [`AdmitError::Recovering`] while every engine is being replaced,
    /// [`AdmitError::Closed`] if the batcher is shutting down or its engine is broken.
    pub fn admit(&self, ask: &Ask) -> Result<Permit, AdmitError> {
        self.admission.admit(ask)
    }

    /// How many times the process's engines have failed so far.
    pub fn failures(&self) -> u64 {
        self.readiness.engine_failures()
    }

    /// When a picture that is turned away now had better come again: an estimate, at least a second.
    pub fn retry_after(&self) -> Duration {
        self.admission.retry_after()
    }

    /// Runs one picture as part of a batch and waits for what the engine finds in it.
    ///
    /// `permit` is one that this batcher gave out; it is released just before the answer is. A picture is not run from its
    /// deadline on; one that runs by then is answered even if the answer comes later. Dropping the future takes the picture out
    /// of the queue, and the permit is released then. A picture that runs already runs on.
    ///
    /// # Errors
    ///
    /// [`BatchError::DeadlinePassed`] if the deadline passed while the picture waited,
    /// [`BatchError::Failed`] if the engine failed or broke,
    /// [`BatchError::NotFinite`] if the scores are no numbers though the engine is sound,
    /// [`BatchError::Recovering`] if the picture still waited when the engines failed and is not run,
    /// [`BatchError::Closed`] if the batcher was shut down before it took the picture.
    pub async fn submit(
        &self,
        mut permit: Permit,
        sample: impl Into<Sample>,
        terms: Terms,
    ) -> Result<Answer, BatchError> {
        let (reply, answer) = oneshot::channel();
        let expectation = permit.take_expectation();
        let caller = Caller { reply, permit, arrived: Instant::now(), link: traces::current_link() };
        let entry = Entry { terms, sample: sample.into(), caller };
        self.entries.send(entry).map_err(|_| BatchError::Closed)?;
        let waiting = Waiting(Some(&self.admission));
        // A reply channel that ends without an answer means that the runtime is going down.
        let answer = answer.await.unwrap_or(Err(BatchError::Closed));
        waiting.end();
        // Here and not where the answer is given: on a busy machine it takes a while until somebody takes it.
        if let (Some(expectation), Ok(_) | Err(BatchError::DeadlinePassed { .. })) = (expectation, &answer) {
            expectation.learn();
        }
        answer
    }

    /// The engines' runs that ended with rows, by the size of the batch.
    pub fn runs(&self) -> BTreeMap<usize, Timed> {
        self.runs.by_batch_size()
    }

    /// The most pictures that may be inside at once.
    pub fn capacity(&self) -> usize {
        self.admission.capacity()
    }

    /// Whether fewer pictures are inside than there are engines.
    pub fn is_idle(&self) -> bool {
        self.admission.is_idle()
    }

    /// Where this model's work is told.
    pub fn metrics(&self) -> &ModelMetrics {
        self.admission.metrics()
    }

    /// How many pictures are inside now: being decoded, waiting and running.
    pub fn depth(&self) -> usize {
        self.admission.depth()
    }
}

/// Tells the scheduler if it is dropped before the wait is over, so that whoever goes leaves room for others at once.
struct Waiting<'a>(Option<&'a Admission>);

impl Waiting<'_> {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.0 {
            admission.left.notify_one();
        }
    }
}
