//! Whether the server wants traffic, and if not, why. One handle that any room may hold; it takes no action itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

use crate::telemetry::metrics;

/// A cloneable handle on the one readiness state of the process, or on that of a part of it.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: watch::Sender<State>,
    /// Whether the process can do without what it is of. The metrics have it if not.
    is_aside: bool,
    /// Whether models are warm: where an engine fails before, its replacement leads back to the start.
    is_warm: Arc<AtomicBool>,
    /// How many times engines have failed.
    failures: Arc<AtomicU64>,
}

/// What `/health/ready` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Models are being loaded and warmed up.
    Starting,
    /// Requests are welcome.
    Ready,
    /// So many engines failed and are being replaced; the text is the first one's reason, for the operator.
    Recovering(usize, String),
    /// The process is shutting down; what is in flight is still answered.
    Draining,
    /// Something broke that only a restart mends; the text is for the operator.
    Failed(String),
}

impl State {
    /// In one word: `starting`, `ready`, `recovering`, `draining` or `failed`.
    pub fn word(&self) -> &'static str {
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
    /// The state in which every process begins.
    pub fn starting() -> Self {
        metrics::ready(State::Starting.word());
        let state = watch::Sender::new(State::Starting);
        Self { state, is_aside: false, is_warm: Arc::default(), failures: Arc::default() }
    }

    /// That of a part which the process can do without. It is ready, and in no metric. Failures of engines count for all
    /// parts: they are on the same devices.
    pub fn aside(&self) -> Self {
        let (state, is_warm) = (watch::Sender::new(State::Ready), Arc::new(AtomicBool::new(true)));
        Self { state, is_aside: true, is_warm, failures: Arc::clone(&self.failures) }
    }

    /// Models are warm. Requests are welcome, unless an engine is being replaced just now. Does nothing once draining or
    /// failed.
    pub fn set_ready(&self) {
        self.is_warm.store(true, Ordering::Relaxed);
        self.advance(|now| (*now == State::Starting).then_some(State::Ready));
    }

    /// An engine failed and is about to be replaced. Does nothing once draining or failed.
    pub fn set_recovering(&self, reason: impl Into<String>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.advance(|now| match now {
            State::Starting | State::Ready => Some(State::Recovering(1, reason.into())),
            State::Recovering(engines, first) => Some(State::Recovering(engines + 1, first.clone())),
            State::Draining | State::Failed(_) => None,
        });
    }

    /// An engine was replaced; with the last of them requests are welcome again, once models are warm.
    pub fn set_recovered(&self) {
        self.advance(|now| match now {
            State::Recovering(1, _) if self.is_warm.load(Ordering::Relaxed) => Some(State::Ready),
            State::Recovering(1, _) => Some(State::Starting),
            State::Recovering(engines, first) => Some(State::Recovering(engines - 1, first.clone())),
            _ => None,
        });
    }

    /// Shutdown has begun. Wins over everything but a failure.
    pub fn set_draining(&self) {
        self.advance(|now| (!matches!(now, State::Failed(_))).then_some(State::Draining));
    }

    /// Latches the first failure; nothing leads out of it.
    pub fn fail(&self, reason: impl Into<String>) {
        self.advance(|now| (!matches!(now, State::Failed(_))).then(|| State::Failed(reason.into())));
    }

    /// Latches a failure of a part that the process can do without, and does nothing to the process itself: what is wrong is
    /// bad enough to go on without the part, and not to end for.
    pub fn fail_aside(&self, reason: impl Into<String>) {
        if self.is_aside {
            self.fail(reason);
        }
    }

    /// How many times engines have failed so far. What they computed before one of those times may have been wrong.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Returns with the reason once something has broken for good.
    pub async fn failed(&self) -> String {
        let mut states = self.state.subscribe();
        loop {
            if let State::Failed(reason) = &*states.borrow_and_update() {
                return reason.clone();
            }
            // The sender is our own, so the channel does not end.
            let _ = states.changed().await;
        }
    }

    fn advance(&self, next: impl FnOnce(&State) -> Option<State>) {
        self.state.send_if_modified(|now| {
            let Some(next) = next(now) else { return false };
            if !self.is_aside {
                metrics::ready(next.word());
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
    fn a_failure_latches_and_keeps_its_first_reason() {
        let readiness = Readiness::starting();
        readiness.set_ready();
        readiness.fail("device lost");
        readiness.fail("later trouble");
        readiness.set_ready();
        readiness.set_draining();
        assert_eq!(readiness.state(), State::Failed("device lost".to_string()));
    }

    #[test]
    fn draining_is_final_for_a_healthy_process() {
        let readiness = Readiness::starting();
        readiness.set_draining();
        readiness.set_ready();
        assert_eq!(readiness.state(), State::Draining);
    }

    #[test]
    fn an_engine_that_fails_while_others_are_loaded_makes_nothing_ready() {
        let readiness = Readiness::starting();
        readiness.set_recovering("early");
        readiness.set_recovered();
        assert_eq!(readiness.state(), State::Starting);
        readiness.set_recovering("once more");
        readiness.set_ready();
        assert_eq!(readiness.state().word(), "recovering");
        readiness.set_recovered();
        assert_eq!(readiness.state(), State::Ready);
    }

    #[test]
    fn it_is_ready_again_when_the_last_engine_is_back() {
        let readiness = Readiness::starting();
        readiness.set_ready();
        readiness.set_recovering("first");
        readiness.set_recovering("second");
        readiness.set_recovered();
        assert_eq!(readiness.state(), State::Recovering(1, "first".to_string()));
        readiness.set_recovered();
        assert_eq!(readiness.state(), State::Ready);
        readiness.set_draining();
        readiness.set_recovering("late");
        readiness.set_recovered();
        assert_eq!(readiness.state(), State::Draining);
    }
}
