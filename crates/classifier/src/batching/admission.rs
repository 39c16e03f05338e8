//! Who is let in: the bound on how many pictures are inside, and whether one more can be served in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

use super::correction::{Correction, Expectation};
use super::inside::{Counted, Inside};
use super::service_time::ServiceTime;
use super::state::OLDEST_EVERY;
use super::{AdmitError, Config};
use kiln_runtime::scheduling::{Priority, QueueShare, QueueShareGuard};
use kiln_runtime::telemetry::metrics::ModelMetrics;

/// HTTP counts `Retry-After` in whole seconds, and an earlier retry only adds to the load.
const LEAST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The right to have one picture inside, from before it is decoded until its answer is out.
/// Dropping it makes room for another picture.
#[derive(Debug)]
#[must_use = "a permit that is dropped admits nobody"]
pub struct Permit {
    _place: OwnedSemaphorePermit,
    _counted: Counted,
    _held: Option<QueueShareGuard>,
    expectation: Option<Expectation>,
}

impl Permit {
    /// The picture's time was over before it was submitted, which says how long others would take.
    pub fn was_late(&self) {
        if let Some(expectation) = &self.expectation {
            expectation.learn();
        }
    }

    /// For whoever waits for the answer.
    pub(super) fn take_expectation(&mut self) -> Option<Expectation> {
        self.expectation.take()
    }
}

/// What decides whether a picture is let in.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// From when on its answer is of no use.
    pub deadline: Option<Instant>,
    /// Whether it goes before others.
    pub priority: Priority,
    /// The part of the queue that its caller may fill, if it is not all.
    pub share: Option<QueueShare>,
}

/// Counts the pictures inside, and knows how long they take.
#[derive(Debug)]
pub(super) struct Admission {
    permits: Arc<Semaphore>,
    inside: Inside,
    capacity: usize,
    max_batch_size: usize,
    engines: usize,
    /// No engine can take a picture for now.
    paused: AtomicBool,
    times: ServiceTime,
    correction: Arc<Correction>,
    metrics: ModelMetrics,
    /// Somebody who waited has gone.
    pub(super) left: Notify,
}

impl Admission {
    pub(super) fn new(config: &Config, engines: usize, metrics: ModelMetrics) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.queue_capacity)),
            inside: Inside::default(),
            capacity: config.queue_capacity,
            max_batch_size: config.max_batch_size,
            engines,
            paused: AtomicBool::new(false),
            times: ServiceTime::default(),
            correction: Arc::default(),
            metrics,
            left: Notify::new(),
        }
    }

    /// Lets in whom the engines can have served by his deadline, going by what they took before.
    pub(super) fn admit(&self, ask: &Ask) -> Result<Permit, AdmitError> {
        if self.paused.load(Ordering::Relaxed) && !self.permits.is_closed() {
            return Err(AdmitError::Recovering);
        }
        let place = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits) => {
                return Err(AdmitError::Overloaded { retry_after: self.retry_after() });
            }
            Err(TryAcquireError::Closed) => return Err(AdmitError::Closed),
        };
        let held = ask.share.as_ref().map(|share| share.acquire(self.capacity)).transpose();
        let held = held.map_err(|most| AdmitError::ShareFull { most, retry_after: self.retry_after() })?;
        let counted = self.inside.count(ask.priority, &self.metrics);
        let fitted = self.times.is_settled().then(|| self.fitted(self.before(ask.priority))).flatten();
        let alone = self.depth() <= 1;
        if let (Some(fitted), Some(deadline), false) = (fitted, ask.deadline, alone) {
            // Whoever is alone is let in: if what was measured is not true any more, he finds out.
            self.in_time(fitted, deadline)?;
        }
        let expectation = fitted.map(|fitted| Expectation::of(&self.correction, fitted, alone));
        Ok(Permit { _place: place, _counted: counted, _held: held, expectation })
    }

    fn in_time(&self, fitted: Duration, deadline: Instant) -> Result<(), AdmitError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let expected = self.correction.apply(fitted);
        // Some of the time is for what nobody here sees: the way of the answer to the client.
        if expected <= left.mul_f64(0.9) {
            return Ok(());
        }
        // By then so much is done that there is time for the rest.
        let retry_after = expected.saturating_sub(left).max(LEAST_RETRY_AFTER);
        Err(AdmitError::TooLate { expected, retry_after })
    }

    /// How many pictures are done when the last of a priority is: those of its own and of higher ones, what the engines have
    /// already, and the turns that the others get in between.
    fn before(&self, priority: Priority) -> usize {
        let (before, behind) = self.inside.around(priority);
        before + behind.min(self.engines * self.max_batch_size + before / (OLDEST_EVERY - 1))
    }

    /// Whether nobody is admitted for now.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// From now on nobody is admitted. Permits that are out stay good.
    pub(super) fn close(&self) {
        self.permits.close();
    }

    pub(super) fn metrics(&self) -> &ModelMetrics {
        &self.metrics
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether some engine has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.depth() < self.engines
    }

    /// Pictures that are inside now.
    pub(super) fn depth(&self) -> usize {
        self.capacity - self.permits.available_permits()
    }

    /// An engine answered a batch of `pictures` in `took`.
    pub(super) fn record(&self, pictures: usize, took: Duration) {
        self.times.record(pictures, took);
    }

    /// The time that the engines need for everything that is inside now, by what was measured, and never less than a
    /// second.
    pub(super) fn retry_after(&self) -> Duration {
        let fitted = self.fitted(self.depth());
        fitted.map(|fitted| self.correction.apply(fitted)).unwrap_or_default().max(LEAST_RETRY_AFTER)
    }

    fn fitted(&self, pictures: usize) -> Option<Duration> {
        self.times.until_done(pictures, self.max_batch_size, self.engines)
    }
}

#[cfg(test)]
mod tests;
