//! The policy: which entries to run now, or how long to wait. It has no clock, task or channel; the
//! time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::decision::{Decision, Dropped, Reason, Step};
use super::{Config, Priority};

/// One picture of so many goes by age alone, so that those of high priority can delay the others but never starve them.
pub(super) const OLDEST_EVERY: usize = 8;

/// What the policy needs to know of an entry.
pub(super) trait Queued {
    /// When the entry was submitted.
    fn arrived(&self) -> Instant;
    /// Which go before which.
    fn priority(&self) -> Priority;
    /// When its answer stops being of use; it is not run from that instant on.
    fn deadline(&self) -> Option<Instant>;
    /// Whether nobody waits for its answer any more.
    fn is_cancelled(&self) -> bool;
}

/// The queue: by priority, and first in, first out within one.
#[derive(Debug)]
pub(super) struct State<E> {
    queue: Vec<E>,
    /// Pictures taken since one went by age.
    taken: usize,
    max_batch_size: usize,
    max_queue_delay: Duration,
    draining: bool,
}

impl<E: Queued> State<E> {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            queue: Vec::new(),
            taken: 0,
            // A batch larger than the queue could never fill, and waiting for it would be in vain.
            max_batch_size: config.max_batch_size.min(config.queue_capacity),
            max_queue_delay: config.max_queue_delay,
            draining: false,
        }
    }

    pub(super) fn append(&mut self, entry: E) {
        let place = self.queue.partition_point(|other| other.priority() <= entry.priority());
        self.queue.insert(place, entry);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nobody else will come, so no entry waits for company any more.
    pub(super) fn stop_waiting(&mut self) {
        self.max_queue_delay = Duration::ZERO;
        self.draining = true;
    }

    /// Takes out everything that waits.
    pub(super) fn take_all(&mut self) -> Vec<E> {
        std::mem::take(&mut self.queue)
    }

    /// Drops the entries that must not run any more, then decides.
    ///
    /// `running` tells how many pictures each engine has at work. While all are busy nothing is composed, for better
    /// batches can only come; but a passed deadline is noticed then too, so that a stuck engine keeps nobody waiting
    /// beyond it.
    pub(super) fn next_batch(&mut self, now: Instant, running: &[usize]) -> Step<E> {
        let dropped = self.remove_dead(now);
        let decision = if running.contains(&0) {
            self.compose(now, running)
        } else {
            wait_until(self.queue.iter().filter_map(E::deadline).min())
        };
        Step { decision, dropped }
    }

    fn remove_dead(&mut self, now: Instant) -> Vec<(E, Dropped)> {
        self.queue
            .extract_if(.., |entry| entry.is_cancelled() || expired(entry, now))
            .map(|entry| {
                let why = if entry.is_cancelled() { Dropped::Cancelled } else { Dropped::DeadlinePassed };
                (entry, why)
            })
            .collect()
    }

    fn compose(&mut self, now: Instant, running: &[usize]) -> Decision<E> {
        let full = self.queue.len() >= self.max_batch_size;
        match self.queue.iter().map(|entry| self.due(entry)).min_by_key(|(due, _)| *due) {
            Some((due, why)) if full || due <= now => {
                let size = self.share(running).min(self.queue.len()).min(self.max_batch_size);
                let reason = if size == self.max_batch_size { Reason::Full } else { why };
                Decision::Dispatch(self.take(size), reason)
            }
            due => wait_until(due.map(|(due, _)| due)),
        }
    }

    /// The next entries: the first of the queue, and at its turn the one that has waited longest.
    fn take(&mut self, size: usize) -> Vec<E> {
        let mut batch = Vec::with_capacity(size);
        while batch.len() < size {
            let first = (OLDEST_EVERY - 1 - self.taken).min(size - batch.len());
            batch.extend(self.queue.drain(..first));
            self.taken += first;
            if batch.len() < size {
                let ages = self.queue.iter().map(E::arrived).enumerate();
                let oldest = ages.min_by_key(|(_, arrived)| *arrived);
                batch.push(self.queue.remove(oldest.expect("no more are taken than wait").0));
                self.taken = 0;
            }
        }
        batch
    }

    /// How many pictures one of the engines should have. Its part of all that wait or run, so that none is idle while
    /// another has two; but all that it can take where they were made to wait for each other.
    fn share(&self, running: &[usize]) -> usize {
        if self.max_queue_delay.is_zero() {
            (self.queue.len() + running.iter().sum::<usize>()).div_ceil(running.len())
        } else {
            self.max_batch_size
        }
    }

    /// Until when an entry may be held back for company, and why no longer. One whose deadline would pass meanwhile is
    /// not held back at all: it would wait only to be dropped.
    fn due(&self, entry: &E) -> (Instant, Reason) {
        let due = entry.arrived() + self.max_queue_delay;
        match () {
            () if self.draining => (entry.arrived(), Reason::Draining),
            () if self.max_queue_delay.is_zero() => (entry.arrived(), Reason::EngineFree),
            () if expired(entry, due) => (entry.arrived(), Reason::Deadline),
            () => (due, Reason::DelayOver),
        }
    }
}

fn expired<E: Queued>(entry: &E, now: Instant) -> bool {
    entry.deadline().is_some_and(|deadline| deadline <= now)
}

fn wait_until<E>(instant: Option<Instant>) -> Decision<E> {
    instant.map_or(Decision::Idle, Decision::WaitUntil)
}

#[cfg(test)]
mod tests;
