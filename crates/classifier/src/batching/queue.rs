//! The entries that wait for an engine, indexed by each order that the policy needs: by priority, by age and by
//! deadline. Each operation on one entry takes time proportional to the logarithm of the queue's length, so that a queue
//! of a million entries is as usable as a short one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use kiln_runtime::scheduling::Priority;

/// What the queue needs to know about an entry. Only [`Queued::is_cancelled`] may change while the entry waits.
pub(super) trait Queued {
    /// Returns a number that no other entry has. It grows with each submission.
    fn id(&self) -> u64;
    /// Returns when the entry was submitted.
    fn arrived(&self) -> Instant;
    /// Returns the entry's priority.
    fn priority(&self) -> Priority;
    /// Returns the entry's deadline. The entry does not run from that instant on.
    fn deadline(&self) -> Option<Instant>;
    /// Returns whether the receiver of the result was dropped.
    fn is_cancelled(&self) -> bool;
}

/// The place of an entry in the queue: by priority, and by submission within a priority.
pub(super) type Position = (Priority, u64);

/// The queue. It is ordered by priority, and by submission within a priority.
#[derive(Debug)]
pub(super) struct WaitingQueue<E> {
    entries: BTreeMap<Position, E>,
    by_age: BTreeSet<(Instant, Position)>,
    by_deadline: BTreeSet<(Instant, Position)>,
    /// Entries whose deadline leaves no time to wait for `max_delay`, by age.
    urgent: BTreeSet<(Instant, Position)>,
    /// Entries whose client has left.
    cancelled: BTreeSet<Position>,
    max_delay: Duration,
}

impl<E: Queued> WaitingQueue<E> {
    /// Creates an empty queue. An entry is urgent if its deadline is at most `max_delay` after its arrival.
    pub(super) fn new(max_delay: Duration) -> Self {
        Self {
            entries: BTreeMap::new(),
            by_age: BTreeSet::new(),
            by_deadline: BTreeSet::new(),
            urgent: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            max_delay,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn push(&mut self, entry: E) {
        let (position, arrived) = ((entry.priority(), entry.id()), entry.arrived());
        self.by_age.insert((arrived, position));
        if let Some(deadline) = entry.deadline() {
            self.by_deadline.insert((deadline, position));
            if deadline <= arrived + self.max_delay {
                self.urgent.insert((arrived, position));
            }
        }
        // The client may have left before the entry came here.
        if entry.is_cancelled() {
            self.cancelled.insert(position);
        }
        let other = self.entries.insert(position, entry);
        debug_assert!(other.is_none(), "two entries have the same id");
    }

    /// Marks the entry with this id as cancelled. Does nothing if it is not in the queue.
    pub(super) fn cancel(&mut self, id: u64) {
        let positions = Priority::ALL.map(|priority| (priority, id));
        self.cancelled.extend(positions.into_iter().find(|position| self.entries.contains_key(position)));
    }

    /// Removes and returns the entries that are cancelled or whose deadline has passed, in the order of the queue.
    pub(super) fn remove_unwanted(&mut self, now: Instant) -> Vec<E> {
        let mut unwanted = std::mem::take(&mut self.cancelled);
        unwanted.extend(
            self.by_deadline.iter().take_while(|(deadline, _)| *deadline <= now).map(|(_, position)| *position),
        );
        unwanted.into_iter().filter_map(|position| self.remove(position)).collect()
    }

    /// Removes and returns the first entry.
    pub(super) fn pop_first(&mut self) -> Option<E> {
        self.entries.first_key_value().map(|(position, _)| *position).and_then(|position| self.remove(position))
    }

    /// Removes and returns the entry that arrived first, whatever its priority.
    pub(super) fn pop_oldest(&mut self) -> Option<E> {
        self.oldest().and_then(|(_, position)| self.remove(position))
    }

    /// Removes and returns all entries, in the order of the queue.
    pub(super) fn take_all(&mut self) -> Vec<E> {
        let all = std::mem::replace(self, Self::new(self.max_delay));
        all.entries.into_values().collect()
    }

    /// Returns when the oldest entry arrived, and its position.
    pub(super) fn oldest(&self) -> Option<(Instant, Position)> {
        self.by_age.first().copied()
    }

    /// Returns when the oldest of the urgent entries arrived, and its position.
    pub(super) fn oldest_urgent(&self) -> Option<(Instant, Position)> {
        self.urgent.first().copied()
    }

    /// Returns the first deadline of all entries.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    fn remove(&mut self, position: Position) -> Option<E> {
        let entry = self.entries.remove(&position)?;
        let arrived = entry.arrived();
        self.by_age.remove(&(arrived, position));
        self.urgent.remove(&(arrived, position));
        if let Some(deadline) = entry.deadline() {
            self.by_deadline.remove(&(deadline, position));
        }
        self.cancelled.remove(&position);
        Some(entry)
    }
}
