//! Who runs, and who waits for him: of those who ask the same as urgently at once, the first runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Key;

/// What a run came to, once it is there. The channel ends without one if the run was given up.
type Landing<V, E> = Option<Result<V, E>>;
type UnderWay<V, E> = HashMap<(Key, u8), watch::Receiver<Landing<V, E>>>;

/// Runs that are under way. Clones share them.
pub(super) struct Flights<V, E>(Arc<Mutex<UnderWay<V, E>>>);

/// What somebody who asks is to do.
pub(super) enum Turn<V, E> {
    /// Run, and tell the others.
    Run(Flight<V, E>),
    /// Wait for another.
    Wait(Waiting<V, E>),
}

/// A run. Dropped before it has landed, it was given up.
pub(super) struct Flight<V, E> {
    flights: Flights<V, E>,
    question: (Key, u8),
    others: watch::Sender<Landing<V, E>>,
}

/// Another's run.
pub(super) struct Waiting<V, E>(watch::Receiver<Landing<V, E>>);

impl<V, E> Flights<V, E> {
    /// One's turn in the run of this question.
    pub(super) fn join(&self, key: Key, urgency: u8) -> Turn<V, E> {
        let question = (key, urgency);
        let mut under_way = self.under_way();
        if let Some(landing) = under_way.get(&question) {
            return Turn::Wait(Waiting(landing.clone()));
        }
        let (others, landing) = watch::channel(None);
        under_way.insert(question, landing);
        Turn::Run(Flight { flights: self.clone(), question, others })
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay<V, E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V, E> Flight<V, E> {
    /// It came to this, for all who wait.
    pub(super) fn land(self, outcome: Result<V, E>) {
        // Nobody need wait for it.
        let _ = self.others.send(Some(outcome));
    }
}

impl<V, E> Drop for Flight<V, E> {
    fn drop(&mut self) {
        // Before the channel ends: whoever is told that it was given up must not find it there again.
        self.flights.under_way().remove(&self.question);
    }
}

impl<V: Clone, E: Clone> Waiting<V, E> {
    /// What it came to; nothing if it was given up.
    pub(super) async fn landed(mut self) -> Option<Result<V, E>> {
        // An end of the channel may follow upon a landing at once.
        self.0.wait_for(Option::is_some).await.ok().and_then(|landing| landing.clone())
    }
}

impl<V, E> Default for Flights<V, E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<V, E> Clone for Flights<V, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
