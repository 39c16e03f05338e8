//! Whether the server accepts traffic, and the reason if it does not. [`Readiness`] is a cloneable handle; it only holds
//! the state, and other modules act on it.
//!
//! A process starts in [`ReadinessState::Starting`], becomes [`ReadinessState::Ready`], and is
//! [`ReadinessState::Recovering`] while a failed engine is replaced. Every state may change to
//! [`ReadinessState::Draining`], and every state to [`ReadinessState::Failed`], which is final. Besides the state, the handle
//! holds the background tasks that have failed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::telemetry::metrics;

/// A cloneable handle to the readiness of the process, or of an optional part of it.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: watch::Sender<ReadinessState>,
    /// Whether the process can run without this part. The metrics only show the readiness of the process.
    is_optional: bool,
    /// Whether the models are warm. If an engine fails earlier, its replacement leads back to `Starting`.
    is_warm: Arc<AtomicBool>,
    engine_failures: Arc<AtomicU64>,
    failed_tasks: Arc<Mutex<BTreeMap<&'static str, TaskFailure>>>,
}

/// Why a background task does not run. The texts are for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskFailure {
    /// The task panicked with this message.
    #[error("it panicked: {0}")]
    Panicked(String),
    /// The task returned this error.
    #[error("it failed: {0}")]
    Failed(String),
    /// The task returned, although it should run as long as the server.
    #[error("it ended")]
    Ended,
}

impl TaskFailure {
    /// Returns `panicked`, `failed` or `ended`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Panicked(_) => "panicked",
            Self::Failed(_) => "failed",
            Self::Ended => "ended",
        }
    }
}

/// The state that `/health/ready` reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadinessState {
    /// Models are being loaded and warmed up.
    Starting,
    /// Requests are accepted.
    Ready,
    /// This many engines failed and are being replaced. The text is the reason of the first failure, for the operator.
    Recovering(usize, String),
    /// The process is shutting down. Requests in flight are still answered.
    Draining,
    /// A failure that only a restart can repair. The text is the reason, for the operator.
    Failed(String),
}

impl ReadinessState {
    /// Returns `starting`, `ready`, `recovering`, `draining` or `failed`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Recovering(..) => "recovering",
            Self::Draining => "draining",
            Self::Failed(_) => "failed",
        }
    }
}

impl Readiness {
    /// Returns the readiness of a process that starts.
    pub fn starting() -> Self {
        metrics::readiness(ReadinessState::Starting.as_str());
        let state = watch::Sender::new(ReadinessState::Starting);
        Self {
            state,
            is_optional: false,
            is_warm: Arc::default(),
            engine_failures: Arc::default(),
            failed_tasks: Arc::default(),
        }
    }

    /// Returns the readiness of a part that the process can run without. It begins ready and appears in no metric.
    /// Engine failures count for all parts, because the parts share the devices.
    pub fn optional(&self) -> Self {
        let (state, is_warm) = (watch::Sender::new(ReadinessState::Ready), Arc::new(AtomicBool::new(true)));
        let engine_failures = Arc::clone(&self.engine_failures);
        Self { state, is_optional: true, is_warm, engine_failures, failed_tasks: Arc::default() }
    }

    /// Records that the models are warm: the process is ready, unless an engine is being replaced. Does nothing once
    /// the process is draining or has failed.
    pub fn set_ready(&self) {
        self.is_warm.store(true, Ordering::Relaxed);
        self.advance(|now| (*now == ReadinessState::Starting).then_some(ReadinessState::Ready));
    }

    /// Records that an engine failed and is about to be replaced. Does not change the state once the process is draining
    /// or has failed.
    pub fn set_recovering(&self, reason: impl Into<String>) {
        self.engine_failures.fetch_add(1, Ordering::Relaxed);
        self.advance(|now| match now {
            ReadinessState::Starting | ReadinessState::Ready => Some(ReadinessState::Recovering(1, reason.into())),
            ReadinessState::Recovering(engines, first) => Some(ReadinessState::Recovering(engines + 1, first.clone())),
            ReadinessState::Draining | ReadinessState::Failed(_) => None,
        });
    }

    /// Records that an engine was replaced. After the last one the process is ready again, if the models are warm.
    pub fn set_recovered(&self) {
        self.advance(|now| match now {
            ReadinessState::Recovering(1, _) if self.is_warm.load(Ordering::Relaxed) => Some(ReadinessState::Ready),
            ReadinessState::Recovering(1, _) => Some(ReadinessState::Starting),
            ReadinessState::Recovering(engines, first) => Some(ReadinessState::Recovering(engines - 1, first.clone())),
            _ => None,
        });
    }

    /// Records that shutdown has begun. Overrides every state except a failure.
    pub fn set_draining(&self) {
        self.advance(|now| (!matches!(now, ReadinessState::Failed(_))).then_some(ReadinessState::Draining));
    }

    /// Records a failure that only a restart can repair. The first failure is final.
    pub fn fail(&self, reason: impl Into<String>) {
        self.advance(|now| (!matches!(now, ReadinessState::Failed(_))).then(|| ReadinessState::Failed(reason.into())));
    }

    /// Records a failure if this is an optional part, and does nothing otherwise. For failures that justify removing a
    /// part, but not ending the process.
    pub fn fail_optional(&self, reason: impl Into<String>) {
        if self.is_optional {
            self.fail(reason);
        }
    }

    /// Returns how often engines have failed so far. Results that an engine computed before its failure may be wrong.
    pub fn engine_failures(&self) -> u64 {
        self.engine_failures.load(Ordering::Relaxed)
    }

    /// Records that a background task does not run. This does not change the state: the supervisor of the task decides whether
    /// the server can run without it.
    pub fn set_task_failed(&self, task: &'static str, failure: TaskFailure) {
        self.lock_failed_tasks().insert(task, failure);
    }

    /// Records that a background task runs again.
    pub fn set_task_running(&self, task: &'static str) {
        self.lock_failed_tasks().remove(task);
    }

    /// Returns the background tasks that do not run, or that run again too short a time to count as running, by name.
    pub fn failed_tasks(&self) -> Vec<(&'static str, TaskFailure)> {
        self.lock_failed_tasks().iter().map(|(task, failure)| (*task, failure.clone())).collect()
    }

    /// A poisoned lock still holds consistent data: each change is one insertion or removal.
    fn lock_failed_tasks(&self) -> MutexGuard<'_, BTreeMap<&'static str, TaskFailure>> {
        self.failed_tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current state.
    pub fn state(&self) -> ReadinessState {
        self.state.borrow().clone()
    }

    /// Waits for a failure that only a restart can repair, and returns its reason.
    pub async fn wait_for_failure(&self) -> String {
        let mut states = self.state.subscribe();
        loop {
            if let ReadinessState::Failed(reason) = &*states.borrow_and_update() {
                return reason.clone();
            }
            // `self` holds the sender, so the channel cannot close.
            let _ = states.changed().await;
        }
    }

    fn advance(&self, next: impl FnOnce(&ReadinessState) -> Option<ReadinessState>) {
        self.state.send_if_modified(|now| {
            let Some(next) = next(now) else { return false };
            if !self.is_optional {
                metrics::readiness(next.as_str());
            }
            *now = next;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_failure_is_final() {
        let readiness = Readiness::starting();
        readiness.set_ready();
        readiness.fail("device lost");
        readiness.fail("later trouble");
        readiness.set_ready();
        readiness.set_draining();
        assert_eq!(readiness.state(), ReadinessState::Failed("device lost".to_string()));
    }

    #[test]
    fn draining_process_does_not_become_ready() {
        let readiness = Readiness::starting();
        readiness.set_draining();
        readiness.set_ready();
        assert_eq!(readiness.state(), ReadinessState::Draining);
    }

    #[test]
    fn engine_that_recovers_during_startup_does_not_make_the_process_ready() {
        let readiness = Readiness::starting();
        readiness.set_recovering("early");
        readiness.set_recovered();
        assert_eq!(readiness.state(), ReadinessState::Starting);
        readiness.set_recovering("once more");
        readiness.set_ready();
        assert_eq!(readiness.state().as_str(), "recovering");
        readiness.set_recovered();
        assert_eq!(readiness.state(), ReadinessState::Ready);
    }

    #[test]
    fn process_is_ready_again_after_the_last_engine_recovers() {
        let readiness = Readiness::starting();
        readiness.set_ready();
        readiness.set_recovering("first");
        readiness.set_recovering("second");
        readiness.set_recovered();
        assert_eq!(readiness.state(), ReadinessState::Recovering(1, "first".to_string()));
        readiness.set_recovered();
        assert_eq!(readiness.state(), ReadinessState::Ready);
        readiness.set_draining();
        readiness.set_recovering("late");
        readiness.set_recovered();
        assert_eq!(readiness.state(), ReadinessState::Draining);
    }
}
