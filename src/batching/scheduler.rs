//! The task that owns the state: it carries events in and decisions out, and decides nothing itself.

use std::sync::{Arc, mpsc as thread_mpsc};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::admission::Admission;
use super::batch::Batch;
use super::entry::Entry;
use super::state::{Decision, Dropped, Reason, State, Step};
use super::worker::Event;
use super::{BatchError, Config};
use crate::inference::EngineError;
use crate::readiness::Readiness;
use crate::telemetry::metrics::{self, ModelMetrics};

/// The scheduler's ends of all channels.
#[derive(Debug)]
pub(super) struct Links {
    /// Unbounded, because the permits bound it.
    pub(super) entries: mpsc::UnboundedReceiver<Entry>,
    /// Ends when the batcher has to stop.
    pub(super) stop: oneshot::Receiver<()>,
    /// To each engine's thread.
    pub(super) batches: Vec<thread_mpsc::Sender<Batch>>,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
}

/// The task and what it owns.
#[derive(Debug)]
pub(super) struct Scheduler {
    state: State<Entry>,
    admission: Arc<Admission>,
    links: Links,
    metrics: ModelMetrics,
    readiness: Readiness,
    /// Pictures that each engine has at work; none if it is free.
    running: Vec<usize>,
    /// Engines that are being replaced. They count as busy.
    failed: Vec<bool>,
    /// Since when each engine has been at what it is at.
    since: Vec<Instant>,
    /// Since when some engine has been free; none is where this is nothing.
    free_since: Option<Instant>,
    device_timeout: Duration,
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
        let engines = links.batches.len();
        Self {
            state: State::new(config),
            admission,
            links,
            metrics,
            readiness,
            running: vec![0; engines],
            failed: vec![false; engines],
            since: vec![Instant::now(); engines],
            free_since: Some(Instant::now()),
            device_timeout: config.device_timeout,
            taking: true,
            open: true,
        }
    }

    /// Ends when everything is answered and the engines are gone.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            self.abandon(&error).await;
        }
        // Without more batches the threads end, and with them the events.
        let Links { batches, mut events, .. } = self.links;
        drop(batches);
        while let Some(event) = events.recv().await {
            // An engine may have doubted itself when there was nothing else to do, and others have the same readiness.
            if matches!(event, Event::Recovered(_)) {
                self.readiness.set_recovered();
            }
        }
    }

    /// Until the batcher is stopped and the queue is empty, or an engine is broken.
    async fn serve(&mut self) -> Result<(), EngineError> {
        let admission = Arc::clone(&self.admission);
        loop {
            self.collect();
            let wake_at = match self.decide() {
                Decision::Dispatch(entries, reason) => {
                    self.dispatch(entries, reason);
                    continue;
                }
                Decision::WaitUntil(instant) => Some(instant),
                Decision::Idle if !self.open && self.running.iter().all(|pictures| *pictures == 0) => return Ok(()),
                Decision::Idle => None,
            };
            let hangs_at = self.hangs_at();
            tokio::select! {
                biased;
                event = self.links.events.recv() => match event {
                    Some(Event::Free(engine)) => self.is_free(engine),
                    Some(Event::Failed(engine)) => self.fail(engine),
                    Some(Event::Recovered(engine)) => self.recover(engine),
                    Some(Event::Broken(error)) => return Err(error),
                    None => unreachable!("a thread that ends says so"),
                },
                _ = &mut self.links.stop, if self.taking => self.stop_taking(),
                entry = self.links.entries.recv(), if self.open => match entry {
                    Some(entry) => self.state.append(entry),
                    None => self.open = false,
                },
                () = admission.left.notified() => {}
                () = wake(wake_at) => {}
                () = wake(hangs_at) => return Err(self.give_up()),
            }
        }
    }

    /// Takes in all that has been submitted, so that a batch misses nobody who is already there.
    fn collect(&mut self) {
        while let Ok(entry) = self.links.entries.try_recv() {
            self.state.append(entry);
        }
        // Nobody waits for engines that may never come back: another server may be quicker.
        if self.is_down() {
            self.answer_all(&BatchError::Recovering);
        }
    }

    fn is_free(&mut self, engine: usize) {
        self.running[engine] = 0;
        self.free_since.get_or_insert_with(Instant::now);
    }

    /// The engine is at work from now on, on so many pictures or on itself.
    fn is_busy(&mut self, engine: usize, pictures: usize) {
        self.running[engine] = pictures;
        self.since[engine] = Instant::now();
        if !self.running.contains(&0) {
            self.free_since = None;
        }
    }

    /// Every engine is being replaced.
    fn is_down(&self) -> bool {
        !self.failed.contains(&false)
    }

    /// The engine takes nothing until it is replaced.
    fn fail(&mut self, engine: usize) {
        self.failed[engine] = true;
        self.is_busy(engine, self.running[engine].max(1));
        self.admission.pause(self.is_down());
    }

    fn recover(&mut self, engine: usize) {
        self.failed[engine] = false;
        self.is_free(engine);
        self.admission.pause(false);
        self.readiness.set_recovered();
    }

    /// When an engine that is busy now has been so for too long.
    fn hangs_at(&self) -> Option<Instant> {
        let busy = self.running.iter().zip(&self.since).filter(|(pictures, _)| **pictures > 0);
        let first = busy.map(|(_, since)| *since).min().filter(|_| !self.device_timeout.is_zero());
        first.map(|since| since + self.device_timeout)
    }

    /// Nobody can take back what a driver has swallowed; the process has to end.
    fn give_up(&self) -> EngineError {
        let error = EngineError::Device(format!("it has not answered for {:?}", self.device_timeout));
        self.readiness.fail(error.to_string());
        error
    }

    fn answer_all(&mut self, error: &BatchError) {
        for entry in self.state.take_all() {
            entry.caller.answer(Err(error.clone()));
        }
    }

    fn decide(&mut self) -> Decision<Entry> {
        let now = Instant::now();
        let Step { decision, dropped } = self.state.next_batch(now, &self.running);
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
        self.metrics.dispatched(entries.len(), reason.word());
        let engine = self.running.iter().position(|pictures| *pictures == 0).expect("one is free");
        let free_since = self.free_since.unwrap_or_else(Instant::now);
        self.is_busy(engine, entries.len());
        // If the thread has ended, the batch is dropped, which tells its callers, and its last event
        // tells the scheduler.
        let _ = self.links.batches[engine].send(Batch::new(entries, free_since));
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

async fn wake(at: Option<Instant>) {
    match at {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
