//! The batching policy: which images run now, and how long the others wait. It has no clock, task or channel; the
//! current time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::Config;
use super::queue::{Queued, WaitingQueue};

/// One of this many images is chosen by age alone, so that high priorities delay the others but never starve them.
pub(super) const OLDEST_EVERY: usize = 8;

/// What the scheduler does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PolicyAction<E> {
    /// Run these entries, in this order. There is at least one.
    Dispatch(Vec<E>, DispatchReason),
    /// Wait, and ask again at this instant, even if nothing happens before.
    WaitUntil(Instant),
    /// Wait until something happens.
    Idle,
}

/// Why a batch is dispatched now and not later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DispatchReason {
    /// The batch has the maximum size.
    Full,
    /// An engine is free, and the maximum queue delay is zero.
    EngineFree,
    /// The first entry has waited for the maximum queue delay.
    DelayOver,
    /// The deadline of an entry leaves no time to wait for more entries.
    Deadline,
    /// The server is shutting down, so no more entries will arrive.
    Draining,
}

impl DispatchReason {
    /// Returns the label of the metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::EngineFree => "engine_free",
            Self::DelayOver => "delay_over",
            Self::Deadline => "deadline",
            Self::Draining => "draining",
        }
    }
}

/// Why an entry was removed from the queue without running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EvictReason {
    Cancelled,
    DeadlinePassed,
}

/// An action, and the entries that were removed from the queue before it was chosen.
#[derive(Debug)]
pub(super) struct Step<E> {
    pub(super) action: PolicyAction<E>,
    pub(super) evicted: Vec<(E, EvictReason)>,
}

/// The queue and its policy.
#[derive(Debug)]
pub(super) struct BatchPolicy<E> {
    queue: WaitingQueue<E>,
    /// Entries dispatched since one was chosen by age.
    since_oldest: usize,
    max_batch_size: usize,
    max_queue_delay: Duration,
    draining: bool,
}

impl<E: Queued> BatchPolicy<E> {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            queue: WaitingQueue::new(config.max_queue_delay),
            since_oldest: 0,
            // A batch larger than the queue could never fill.
            max_batch_size: config.max_batch_size.min(config.queue_capacity),
            max_queue_delay: config.max_queue_delay,
            draining: false,
        }
    }

    pub(super) fn push(&mut self, entry: E) {
        self.queue.push(entry);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Records that the client of an entry has left. The next step removes the entry, if it still waits.
    pub(super) fn cancel(&mut self, id: u64) {
        self.queue.cancel(id);
    }

    /// Records that no more entries will arrive, so that no entry waits for a batch to fill.
    pub(super) fn start_draining(&mut self) {
        self.max_queue_delay = Duration::ZERO;
        self.draining = true;
    }

    /// Removes and returns all entries.
    pub(super) fn take_all(&mut self) -> Vec<E> {
        self.queue.take_all()
    }

    /// Removes the entries that must not run, then chooses the next action.
    ///
    /// `running` is the number of images that each engine runs. While all engines are busy no batch is composed,
    /// because a later batch can only be larger. Deadlines are still checked then, so that a hung engine delays no
    /// entry beyond its deadline.
    pub(super) fn next_step(&mut self, now: Instant, running: &[usize]) -> Step<E> {
        let evicted = self.evict(now);
        let action =
            if running.contains(&0) { self.compose(now, running) } else { wait_until(self.queue.next_deadline()) };
        Step { action, evicted }
    }

    fn evict(&mut self, now: Instant) -> Vec<(E, EvictReason)> {
        let with_reason = |entry: E| {
            let reason = if entry.is_cancelled() { EvictReason::Cancelled } else { EvictReason::DeadlinePassed };
            (entry, reason)
        };
        self.queue.remove_unwanted(now).into_iter().map(with_reason).collect()
    }

    fn compose(&mut self, now: Instant, running: &[usize]) -> PolicyAction<E> {
        let full = self.queue.len() >= self.max_batch_size;
        match self.next_due() {
            Some((due, reason)) if full || due <= now => {
                let size = self.engine_share(running).min(self.queue.len()).min(self.max_batch_size);
                let reason = if size == self.max_batch_size { DispatchReason::Full } else { reason };
                PolicyAction::Dispatch(self.take(size), reason)
            }
            due => wait_until(due.map(|(due, _)| due)),
        }
    }

    /// Removes the next entries: the first ones of the queue and, once every [`OLDEST_EVERY`] entries, the oldest one.
    fn take(&mut self, size: usize) -> Vec<E> {
        let mut next = || {
            if self.since_oldest + 1 == OLDEST_EVERY {
                self.since_oldest = 0;
                return self.queue.pop_oldest();
            }
            self.since_oldest += 1;
            self.queue.pop_first()
        };
        (0..size).map(|_| next().expect("the batch is not larger than the queue")).collect()
    }

    /// Returns how many images one engine gets. Without a queue delay, it is an equal share of all images that wait or
    /// run, so that no engine is idle while another has two images. With a queue delay, the images waited to run
    /// together, so it is a full batch.
    fn engine_share(&self, running: &[usize]) -> usize {
        if self.max_queue_delay.is_zero() {
            (self.queue.len() + running.iter().sum::<usize>()).div_ceil(running.len())
        } else {
            self.max_batch_size
        }
    }

    /// Returns until when the entries wait for a batch to fill, and why they do not wait longer. An entry whose deadline
    /// would pass in the meantime does not wait, since it would only be evicted.
    fn next_due(&self) -> Option<(Instant, DispatchReason)> {
        let (arrived, position) = self.queue.oldest()?;
        if self.draining {
            return Some((arrived, DispatchReason::Draining));
        }
        if self.max_queue_delay.is_zero() {
            return Some((arrived, DispatchReason::EngineFree));
        }
        let delay_over = ((arrived + self.max_queue_delay, position), DispatchReason::DelayOver);
        let deadline = self.queue.oldest_urgent().map(|urgent| (urgent, DispatchReason::Deadline));
        // If both are due at once, the first one in the queue names the reason.
        let first = [Some(delay_over), deadline].into_iter().flatten().min_by_key(|(key, _)| *key);
        first.map(|((due, _), reason)| (due, reason))
    }
}

fn wait_until<E>(instant: Option<Instant>) -> PolicyAction<E> {
    instant.map_or(PolicyAction::Idle, PolicyAction::WaitUntil)
}

#[cfg(test)]
mod tests;
