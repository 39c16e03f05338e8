//! The task that owns the state: it carries events in and decisions out, and decides nothing itself.

use std::pin::pin;
use std::sync::{Arc, mpsc as thread_mpsc};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::admission::Admission;
use super::batch::Batch;
use super::decision::{Decision, Dropped, Reason, Step};
use super::engine_thread::{Event, Work};
use super::engines::Engines;
use super::entry::Entry;
use super::state::State;
use super::{BatchError, Config};
use kiln_inference::EngineError;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::{self, ModelMetrics};

/// The scheduler's ends of all channels.
#[derive(Debug)]
pub(super) struct Links {
    /// Unbounded, because the permits bound it.
    pub(super) entries: mpsc::UnboundedReceiver<Entry>,
    /// Ends when the batcher has to stop.
    pub(super) stop: oneshot::Receiver<()>,
    /// To each engine's thread.
    pub(super) work: Vec<thread_mpsc::Sender<Work>>,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
}

/// The task and what it owns.
#[derive(Debug)]
pub(super) struct Scheduler {
    state: State<Entry>,
    engines: Engines,
    admission: Arc<Admission>,
    links: Links,
    metrics: ModelMetrics,
    readiness: Readiness,
    /// Stopping has not begun.
    taking: bool,
    /// Entries may still come out of their channel.
    open: bool,
}

impl Scheduler {
    pub(super) fn new(
        config: &Config,
        admission: Arc<Admission>,
        readiness: Readiness,
        metrics: ModelMetrics,
        links: Links,
    ) -> Self {
        Self {
            state: State::new(config),
            engines: Engines::new(config, links.work.len(), Instant::now()),
            admission,
            links,
            metrics,
            readiness,
            taking: true,
            open: true,
        }
    }

    /// Ends when everything is answered and the engines are gone.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            // Whoever knows more has said so already.
            self.readiness.fail(error.to_string());
            self.abandon(&error).await;
        }
        // Without more work the threads end, and with them the events.
        let Links { work, mut events, .. } = self.links;
        drop(work);
        while events.recv().await.is_some() {}
    }

    /// Until the batcher is stopped and the queue is empty, or an engine is broken.
    async fn serve(&mut self) -> Result<(), EngineError> {
        let admission = Arc::clone(&self.admission);
        // It may ring too early, for what it was set for may have passed, but never too late.
        let mut alarm = pin!(sleep(Duration::MAX));
        loop {
            self.collect();
            let wake_at = match self.decide() {
                Decision::Dispatch(entries, reason) => {
                    self.dispatch(entries, reason);
                    continue;
                }
                Decision::WaitUntil(instant) => Some(instant),
                Decision::Idle if !self.open && self.engines.are_idle() => return Ok(()),
                Decision::Idle => None,
            };
            let wake_at = wake_at.into_iter().chain(self.engines.wake_at()).min();
            if let Some(at) = wake_at.filter(|at| *at < alarm.deadline() || alarm.is_elapsed()) {
                alarm.as_mut().reset(at);
            }
            tokio::select! {
                biased;
                event = self.links.events.recv() => self.take(event.expect("a thread that ends says so"))?,
                _ = &mut self.links.stop, if self.taking => self.stop_taking(),
                entry = self.links.entries.recv(), if self.open => match entry {
                    Some(entry) => self.state.append(entry),
                    None => {
                        self.open = false;
                        // The way out is when all of them are free at once.
                        self.engines.check_no_more();
                    }
                },
                () = admission.left.notified() => {}
                () = &mut alarm, if wake_at.is_some() => self.look_after_engines()?,
            }
        }
    }

    /// Takes in all that has been submitted, so that a batch misses nobody who is already there.
    fn collect(&mut self) {
        while let Ok(entry) = self.links.entries.try_recv() {
            self.state.append(entry);
        }
        // Nobody waits for engines that may never come back: another server may be quicker.
        if self.engines.are_down() {
            self.answer_all(&BatchError::Recovering);
        }
    }

    /// An engine's thread has something to say. The error is the end of the batcher.
    fn take(&mut self, event: Event) -> Result<(), EngineError> {
        let now = Instant::now();
        match event {
            Event::Free(engine) => self.engines.is_free(engine, now),
            Event::Failed(engine) => {
                self.engines.has_failed(engine, now);
                self.admission.pause(self.engines.are_down());
            }
            Event::Recovered(engine) => {
                self.engines.is_back(engine, now);
                self.admission.pause(false);
                self.readiness.set_recovered();
            }
            Event::Broken(error) => return Err(error),
        }
        Ok(())
    }

    /// Has those check themselves that have had nothing to do for long. The error is that one hangs: nobody can take back what
    /// a driver has swallowed, and the process has to end.
    fn look_after_engines(&mut self) -> Result<(), EngineError> {
        let now = Instant::now();
        if let Some(timeout) = self.engines.hang(now) {
            return Err(EngineError::Device(format!("it has not answered for {timeout:?}")));
        }
        while let Some(engine) = self.engines.begin_check(now) {
            self.send(engine, Work::Check);
        }
        Ok(())
    }

    fn answer_all(&mut self, error: &BatchError) {
        for entry in self.state.take_all() {
            entry.caller.answer(Err(error.clone()));
        }
    }

    fn decide(&mut self) -> Decision<Entry> {
        let now = Instant::now();
        let Step { decision, dropped } = self.state.next_batch(now, self.engines.running());
        for (entry, why) in dropped {
            self.discard(entry, why, now);
        }
        self.metrics.queue_depth(self.state.len());
        decision
    }

    fn discard(&self, entry: Entry, why: Dropped, now: Instant) {
        match why {
            Dropped::Cancelled => metrics::cancelled("queue"),
            Dropped::DeadlinePassed => {
                self.metrics.deadline_passed();
                let queued = now.duration_since(entry.caller.arrived);
                let retry_after = self.admission.retry_after();
                entry.caller.answer(Err(BatchError::DeadlinePassed { queued, retry_after }));
            }
        }
    }

    fn dispatch(&mut self, entries: Vec<Entry>, reason: Reason) {
        self.metrics.batch_dispatched(entries.len(), reason.word());
        let (engine, free_since) = self.engines.begin(entries.len(), Instant::now());
        self.send(engine, Work::Run(Batch::new(entries, free_since)));
    }

    fn send(&self, engine: usize, work: Work) {
        // If the thread has ended, a batch is dropped, which tells its callers, and the thread's last event tells the scheduler.
        let _ = self.links.work[engine].send(work);
    }

    fn stop_taking(&mut self) {
        self.taking = false;
        self.admission.close();
        self.links.entries.close();
        self.state.stop_waiting();
    }

    /// Answers everything that is or comes into the queue, so that nobody waits for a broken engine.
    async fn abandon(&mut self, error: &EngineError) {
        self.stop_taking();
        while let Some(entry) = self.links.entries.recv().await {
            self.state.append(entry);
        }
        self.answer_all(&BatchError::Failed(error.clone()));
        self.metrics.queue_depth(0);
    }
}
