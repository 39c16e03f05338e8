//! The scheduler task: it owns the policy and the engine states, feeds them with events and carries out their
//! decisions.

use std::pin::pin;
use std::sync::{Arc, mpsc as thread_mpsc};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::Config;
use super::admission::Admission;
use super::batch::{Batch, BatchError, Entry};
use super::engine_states::EngineStates;
use super::engine_thread::{EngineCommand, EngineEvent};
use super::policy::{BatchPolicy, DispatchReason, EvictReason, PolicyAction, Step};
use kiln_inference::EngineError;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::{self, ModelMetrics};

/// The scheduler's ends of all channels.
#[derive(Debug)]
pub(super) struct Channels {
    /// Unbounded, but each entry holds a permit, so the queue capacity bounds it.
    pub(super) entries: mpsc::UnboundedReceiver<Entry>,
    /// Closes when the batcher has to stop.
    pub(super) stop: oneshot::Receiver<()>,
    /// The senders to the engines' threads.
    pub(super) commands: Vec<thread_mpsc::Sender<EngineCommand>>,
    pub(super) events: mpsc::UnboundedReceiver<EngineEvent>,
}

/// The scheduler task and its state.
#[derive(Debug)]
pub(super) struct Scheduler {
    policy: BatchPolicy<Entry>,
    engines: EngineStates,
    admission: Arc<Admission>,
    channels: Channels,
    metrics: ModelMetrics,
    readiness: Readiness,
    /// Whether the batcher still accepts images.
    accepting: bool,
    /// Whether the channel of the entries may still return one.
    entries_open: bool,
}

impl Scheduler {
    pub(super) fn new(
        config: &Config,
        admission: Arc<Admission>,
        readiness: Readiness,
        metrics: ModelMetrics,
        channels: Channels,
    ) -> Self {
        Self {
            policy: BatchPolicy::new(config),
            engines: EngineStates::new(config, channels.commands.len(), Instant::now()),
            admission,
            channels,
            metrics,
            readiness,
            accepting: true,
            entries_open: true,
        }
    }

    /// Runs until every image has its result and the engines are dropped.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            // If the engine's thread reported a more detailed reason before, that one stays.
            self.readiness.fail(error.to_string());
            self.abandon(&error).await;
        }
        // Without senders of commands the threads end, and then the events end.
        let Channels { commands, mut events, .. } = self.channels;
        drop(commands);
        while events.recv().await.is_some() {}
    }

    /// Runs until the batcher is stopped and the queue is empty, or until an engine is broken.
    async fn serve(&mut self) -> Result<(), EngineError> {
        let admission = Arc::clone(&self.admission);
        // The timer may fire early, because the entry that it was set for may be gone, but never late.
        let mut timer = pin!(sleep(Duration::MAX));
        loop {
            self.collect();
            let wake_at = match self.decide() {
                PolicyAction::Dispatch(entries, reason) => {
                    self.dispatch(entries, reason);
                    continue;
                }
                PolicyAction::WaitUntil(instant) => Some(instant),
                PolicyAction::Idle if !self.entries_open && self.engines.are_idle() => return Ok(()),
                PolicyAction::Idle => None,
            };
            let wake_at = wake_at.into_iter().chain(self.engines.wake_at()).min();
            if let Some(at) = wake_at.filter(|at| *at < timer.deadline() || timer.is_elapsed()) {
                timer.as_mut().reset(at);
            }
            // Biased: the state of the engines is up to date before the next decision.
            tokio::select! {
                biased;
                event = self.channels.events.recv() => self.handle_event(event)?,
                _ = &mut self.channels.stop, if self.accepting => self.stop_accepting(),
                entry = self.channels.entries.recv(), if self.entries_open => match entry {
                    Some(entry) => self.policy.push(entry),
                    None => {
                        self.entries_open = false;
                        // The scheduler ends when all engines are idle. With alternating self-tests they never would
                        // be.
                        self.engines.disable_self_tests();
                    }
                },
                () = admission.cancellations.added() => {}
                () = &mut timer, if wake_at.is_some() => self.check_engines()?,
            }
        }
    }

    /// Receives all entries that were submitted, so that a batch contains every image that is already there.
    fn collect(&mut self) {
        while let Ok(entry) = self.channels.entries.try_recv() {
            self.policy.push(entry);
        }
        // No image waits for engines that may not recover: another server may answer sooner.
        if self.engines.are_down() {
            self.respond_to_all(&BatchError::Recovering);
        }
    }

    /// Handles an event of an engine's thread. An error ends the batcher.
    fn handle_event(&mut self, event: Option<EngineEvent>) -> Result<(), EngineError> {
        // A thread reports `Broken` before it drops its sender, so the events do not end before an error was returned
        // here.
        let event = event.ok_or_else(|| EngineError::Panicked("all engine threads have ended".to_string()))?;
        let now = Instant::now();
        match event {
            EngineEvent::Idle(engine) => self.engines.mark_idle(engine, now),
            EngineEvent::Failed(engine) => {
                self.engines.mark_failed(engine, now);
                self.admission.set_paused(self.engines.are_down());
            }
            EngineEvent::Recovered(engine) => {
                self.engines.mark_recovered(engine, now);
                self.admission.set_paused(false);
                self.readiness.set_recovered();
            }
            EngineEvent::Broken(error) => return Err(error),
        }
        Ok(())
    }

    /// Starts the self-tests that are due. Returns an error if an engine hangs: a call into a driver cannot be
    /// cancelled, so the process has to end.
    fn check_engines(&mut self) -> Result<(), EngineError> {
        let now = Instant::now();
        if let Some(timeout) = self.engines.hung_for(now) {
            return Err(EngineError::Device(format!("it has not answered for {timeout:?}")));
        }
        while let Some(engine) = self.engines.begin_self_test(now) {
            self.send(engine, EngineCommand::SelfTest);
        }
        Ok(())
    }

    fn respond_to_all(&mut self, error: &BatchError) {
        for entry in self.policy.take_all() {
            entry.responder.respond(Err(error.clone()));
        }
    }

    fn decide(&mut self) -> PolicyAction<Entry> {
        let now = Instant::now();
        self.admission.cancellations.take().into_iter().for_each(|id| self.policy.cancel(id));
        let Step { action, evicted } = self.policy.next_step(now, self.engines.running());
        for (entry, reason) in evicted {
            self.evict(entry, reason, now);
        }
        self.metrics.queue_depth(self.policy.len());
        action
    }

    fn evict(&self, entry: Entry, reason: EvictReason, now: Instant) {
        match reason {
            EvictReason::Cancelled => metrics::cancelled("queue"),
            EvictReason::DeadlinePassed => {
                self.metrics.deadline_passed();
                let queued = now.duration_since(entry.responder.arrived);
                let retry_after = self.admission.retry_after();
                entry.responder.respond(Err(BatchError::DeadlinePassed { queued, retry_after }));
            }
        }
    }

    fn dispatch(&mut self, entries: Vec<Entry>, reason: DispatchReason) {
        self.metrics.batch_dispatched(entries.len(), reason.as_str());
        let (engine, idle_since) = self.engines.begin_batch(entries.len(), Instant::now());
        self.send(engine, EngineCommand::Run(Batch::new(entries, idle_since)));
    }

    fn send(&self, engine: usize, command: EngineCommand) {
        // If the thread has ended, the batch is dropped, which closes its result channels, and the thread's last event
        // ends the batcher.
        let _ = self.channels.commands[engine].send(command);
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
        self.admission.close();
        self.channels.entries.close();
        self.policy.start_draining();
    }

    /// Sends the error to every image that is or comes into the queue, so that no image waits for a broken engine.
    async fn abandon(&mut self, error: &EngineError) {
        self.stop_accepting();
        while let Some(entry) = self.channels.entries.recv().await {
            self.policy.push(entry);
        }
        self.respond_to_all(&BatchError::Failed(error.clone()));
        self.metrics.queue_depth(0);
    }
}
