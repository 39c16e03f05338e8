//! Whether the server wants traffic, and if not, why. One handle that any room may hold; it takes no action itself.

use tokio::sync::watch;

/// A cloneable handle on the one readiness state of the process.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Sender<State>);

/// What `/health/ready` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Models are being loaded and warmed up.
    Starting,
    /// Requests are welcome.
    Ready,
    /// The process is shutting down; what is in flight is still answered.
    Draining,
    /// Something broke that only a restart mends; the text is for the operator.
    Failed(String),
}

impl Readiness {
    /// The state in which every process begins.
    pub fn starting() -> Self {
        Self(watch::Sender::new(State::Starting))
    }

    /// Models are warm. Does nothing once draining or failed.
    pub fn set_ready(&self) {
        self.advance(State::Ready, |now| *now == State::Starting);
    }

    /// Shutdown has begun. Wins over everything but a failure.
    pub fn set_draining(&self) {
        self.advance(State::Draining, |now| !matches!(now, State::Failed(_)));
    }

    /// Latches the first failure; nothing leads out of it.
    pub fn fail(&self, reason: impl Into<String>) {
        self.advance(State::Failed(reason.into()), |now| !matches!(now, State::Failed(_)));
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.0.borrow().clone()
    }

    fn advance(&self, next: State, allowed: impl FnOnce(&State) -> bool) {
        self.0.send_if_modified(|now| {
            let changes = allowed(now);
            if changes {
                *now = next;
            }
            changes
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
}
