//! Single flight: of concurrent requests with the same key, the first one (the leader) computes the value, and the
//! others (the followers) wait for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The leader's result, absent until it is complete. If the leader gives up, the channel closes without a result.
type Flight<V, E> = Option<Result<V, E>>;
type Flights<K, V, E> = HashMap<K, watch::Receiver<Flight<V, E>>>;

/// The computations in progress. Clones share them.
pub(super) struct SingleFlight<K, V, E>(Arc<Mutex<Flights<K, V, E>>>);

/// What a request has to do.
pub(super) enum Role<K: Copy + Eq + Hash, V, E> {
    /// Compute the value and pass it to the followers.
    Leader(Leader<K, V, E>),
    /// Wait for the leader.
    Follower(Follower<V, E>),
}

/// Computes the value of a key. Dropping it without [`Leader::complete`] gives up.
pub(super) struct Leader<K: Copy + Eq + Hash, V, E> {
    flights: SingleFlight<K, V, E>,
    key: K,
    followers: watch::Sender<Flight<V, E>>,
}

/// Waits for the leader's result.
pub(super) struct Follower<V, E>(watch::Receiver<Flight<V, E>>);

impl<K: Copy + Eq + Hash, V, E> SingleFlight<K, V, E> {
    /// Joins the computation of a key, or begins one.
    pub(super) fn join(&self, key: K) -> Role<K, V, E> {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&key) {
            return Role::Follower(Follower(flight.clone()));
        }
        let (followers, flight) = watch::channel(None);
        flights.insert(key, flight);
        Role::Leader(Leader { flights: self.clone(), key, followers })
    }

    fn lock(&self) -> MutexGuard<'_, Flights<K, V, E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash, V, E> Leader<K, V, E> {
    /// Passes the result to all followers.
    pub(super) fn complete(self, result: Result<V, E>) {
        // Without followers the result has no receiver.
        let _ = self.followers.send(Some(result));
    }
}

impl<K: Copy + Eq + Hash, V, E> Drop for Leader<K, V, E> {
    fn drop(&mut self) {
        // Removed before the channel closes: a follower whose leader gave up must not join the same flight again.
        self.flights.lock().remove(&self.key);
    }
}

impl<V: Clone, E: Clone> Follower<V, E> {
    /// Returns the leader's result, or nothing if the leader gave up.
    pub(super) async fn wait(mut self) -> Option<Result<V, E>> {
        // The channel may close directly after the result was sent.
        self.0.wait_for(Option::is_some).await.ok().and_then(|flight| flight.clone())
    }
}

impl<K, V, E> Default for SingleFlight<K, V, E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V, E> Clone for SingleFlight<K, V, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
