//! Who is let in: the bound on how many pictures are inside, and whether one more can be served in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

use super::service_time::ServiceTime;
use super::{AdmitError, Config};

/// HTTP counts `Retry-After` in whole seconds, and an earlier retry only adds to the load.
const LEAST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The right to have one picture inside, from before it is decoded until its answer is out.
/// Dropping it makes room for another picture.
#[derive(Debug)]
#[must_use = "a permit that is dropped admits nobody"]
pub struct Permit {
    _held: OwnedSemaphorePermit,
}

/// Counts the pictures inside, and knows how long they take.
#[derive(Debug)]
pub(super) struct Admission {
    permits: Arc<Semaphore>,
    capacity: usize,
    max_batch_size: usize,
    engines: usize,
    /// No engine can take a picture for now.
    paused: AtomicBool,
    times: ServiceTime,
    /// Somebody who waited has gone.
    pub(super) left: Notify,
}

impl Admission {
    pub(super) fn new(config: &Config, engines: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.queue_capacity)),
            capacity: config.queue_capacity,
            max_batch_size: config.max_batch_size,
            engines,
            paused: AtomicBool::new(false),
            times: ServiceTime::default(),
            left: Notify::new(),
        }
    }

    /// Lets in whom the engines can have served by his deadline, going by what they took before.
    pub(super) fn admit(&self, deadline: Option<Instant>) -> Result<Permit, AdmitError> {
        if self.paused.load(Ordering::Relaxed) && !self.permits.is_closed() {
            return Err(AdmitError::Recovering);
        }
        let held = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(held) => held,
            Err(TryAcquireError::NoPermits) => {
                return Err(AdmitError::Overloaded { retry_after: self.retry_after() });
            }
            Err(TryAcquireError::Closed) => return Err(AdmitError::Closed),
        };
        let Some(deadline) = deadline else { return Ok(Permit { _held: held }) };
        // With the place that was just taken. Whoever is alone is let in: if what was measured is not true any more, he
        // finds out.
        let depth = self.depth();
        let expected = self.until_done(depth).filter(|_| depth > 1 && self.times.is_settled());
        match expected.zip(Some(deadline.saturating_duration_since(Instant::now()))) {
            Some((expected, left)) if expected > left => {
                // By then so much is done that there is time for the rest.
                let retry_after = (expected - left).max(LEAST_RETRY_AFTER);
                Err(AdmitError::TooLate { expected, retry_after })
            }
            _ => Ok(Permit { _held: held }),
        }
    }

    /// Whether nobody is admitted for now.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// From now on nobody is admitted. Permits that are out stay good.
    pub(super) fn close(&self) {
        self.permits.close();
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
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
        self.until_done(self.depth()).unwrap_or_default().max(LEAST_RETRY_AFTER)
    }

    fn until_done(&self, pictures: usize) -> Option<Duration> {
        self.times.until_done(pictures, self.max_batch_size, self.engines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Engines that take 100 ms for a picture.
    fn measured(queue_capacity: usize, engines: usize) -> Admission {
        let admission = Admission::new(&Config { queue_capacity, ..Config::default() }, engines);
        (0..20).for_each(|_| admission.record(8, Duration::from_millis(800)));
        admission
    }

    #[test]
    fn the_bound_holds_and_a_dropped_permit_makes_room() {
        let admission = Admission::new(&Config { queue_capacity: 2, ..Config::default() }, 1);
        let first = admission.admit(None).unwrap();
        let _second = admission.admit(None).unwrap();
        assert_eq!(admission.depth(), 2);
        assert!(matches!(admission.admit(None), Err(AdmitError::Overloaded { .. })));
        drop(first);
        assert_eq!(admission.depth(), 1);
        let _third = admission.admit(None).unwrap();
    }

    #[test]
    fn the_advice_is_the_measured_time_for_all_that_is_inside() {
        for (engines, seconds) in [(1, 4), (2, 2)] {
            let admission = measured(40, engines);
            let _permits: Vec<_> = (0..40).map(|_| admission.admit(None).unwrap()).collect();
            assert_eq!(admission.retry_after(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn who_cannot_be_served_in_time_is_turned_away_on_arrival() {
        let admission = measured(40, 1);
        let now = Instant::now();
        let _permits: Vec<_> = (0..15).map(|_| admission.admit(None).unwrap()).collect();
        // The sixteenth would be done after 1.6 s.
        let late = admission.admit(Some(now + Duration::from_millis(1500)));
        let Err(AdmitError::TooLate { expected, retry_after }) = late else { panic!("{late:?}") };
        assert_eq!((expected.as_millis(), retry_after), (1600, LEAST_RETRY_AFTER));
        let later = admission.admit(Some(now + Duration::from_millis(10)));
        assert!(matches!(later, Err(AdmitError::TooLate { retry_after, .. }) if retry_after > LEAST_RETRY_AFTER));
        let _in_time = admission.admit(Some(now + Duration::from_secs(3))).unwrap();
        assert_eq!(admission.depth(), 16, "who was turned away holds no place");
    }

    #[test]
    fn a_lone_picture_is_tried_however_slow_the_engine_once_was() {
        let admission = measured(40, 1);
        let permit = admission.admit(Some(Instant::now() + Duration::from_millis(1))).unwrap();
        assert!(admission.admit(Some(Instant::now() + Duration::from_millis(1))).is_err());
        drop(permit);
        (0..200).for_each(|_| admission.record(1, Duration::from_micros(10)));
        let _two = [(); 2].map(|()| admission.admit(Some(Instant::now() + Duration::from_millis(100))).unwrap());
    }

    #[test]
    fn before_anything_was_measured_everybody_is_let_in() {
        let admission = Admission::new(&Config::default(), 1);
        let _permit = admission.admit(Some(Instant::now() + Duration::from_millis(1))).unwrap();
    }

    #[test]
    fn the_advice_is_a_second_at_least() {
        let admission = Admission::new(&Config::default(), 1);
        let _permit = admission.admit(None).unwrap();
        assert_eq!(admission.retry_after(), LEAST_RETRY_AFTER);
        (0..20).for_each(|_| admission.record(1, Duration::from_micros(10)));
        assert_eq!(admission.retry_after(), LEAST_RETRY_AFTER);
    }
}
