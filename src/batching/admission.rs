//! The bound on how many pictures are inside, and the estimate of when there is room again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::AdmitError;

/// HTTP counts `Retry-After` in whole seconds, and an earlier retry only adds to the load.
const LEAST_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The weight of one batch in the moving average is one part in this many.
const SMOOTHING: u64 = 8;

/// The right to have one picture inside, from before it is decoded until its answer is out.
/// Dropping it makes room for another picture.
#[derive(Debug)]
#[must_use = "a permit that is dropped admits nobody"]
pub struct Permit {
    _held: OwnedSemaphorePermit,
}

/// Counts the pictures inside, and remembers how long one takes.
#[derive(Debug)]
pub(super) struct Admission {
    permits: Arc<Semaphore>,
    capacity: usize,
    engines: u64,
    /// No engine can take a picture for now.
    paused: AtomicBool,
    /// Moving average of the engine's time for one picture, in nanoseconds; 0 before the first batch.
    picture_nanos: AtomicU64,
}

impl Admission {
    pub(super) fn new(capacity: usize, engines: usize) -> Self {
        let permits = Arc::new(Semaphore::new(capacity));
        Self {
            permits,
            capacity,
            engines: engines as u64,
            paused: AtomicBool::new(false),
            picture_nanos: AtomicU64::new(0),
        }
    }

    pub(super) fn admit(&self) -> Result<Permit, AdmitError> {
        if self.paused.load(Ordering::Relaxed) && !self.permits.is_closed() {
            return Err(AdmitError::Recovering);
        }
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(held) => Ok(Permit { _held: held }),
            Err(TryAcquireError::NoPermits) => Err(AdmitError::Overloaded { retry_after: self.retry_after() }),
            Err(TryAcquireError::Closed) => Err(AdmitError::Closed),
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

    /// An engine answered `pictures` in `took`.
    pub(super) fn record(&self, pictures: usize, took: Duration) {
        let sample = saturating_u64(took.as_nanos() / pictures.max(1) as u128);
        let smoothed = |average| match average {
            0 => sample,
            // Divided first, so that the sum cannot overflow.
            _ => average - average / SMOOTHING + sample / SMOOTHING,
        };
        let _ =
            self.picture_nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |average| Some(smoothed(average)));
    }

    /// The time that the engines need for everything that is inside now: the moving average of the time of one
    /// picture times the pictures inside, shared among the engines, and never less than a second.
    pub(super) fn retry_after(&self) -> Duration {
        let picture_nanos = self.picture_nanos.load(Ordering::Relaxed);
        let nanos = u128::from(picture_nanos) * self.depth() as u128 / u128::from(self.engines);
        Duration::from_nanos(saturating_u64(nanos)).max(LEAST_RETRY_AFTER)
    }
}

fn saturating_u64(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_a_dropped_permit_makes_room() {
        let admission = Admission::new(2, 1);
        let first = admission.admit().unwrap();
        let _second = admission.admit().unwrap();
        assert_eq!(admission.depth(), 2);
        assert!(matches!(admission.admit(), Err(AdmitError::Overloaded { .. })));
        drop(first);
        assert_eq!(admission.depth(), 1);
        let _third = admission.admit().unwrap();
    }

    #[test]
    fn the_advice_is_the_measured_time_for_all_that_is_inside() {
        let admission = Admission::new(40, 1);
        let _permits: Vec<_> = (0..40).map(|_| admission.admit().unwrap()).collect();
        admission.record(8, Duration::from_millis(800));
        assert_eq!(admission.retry_after(), Duration::from_secs(4));
        // Seven parts of 100 ms and one of 500 ms make 150 ms a picture.
        admission.record(1, Duration::from_millis(500));
        assert_eq!(admission.retry_after(), Duration::from_secs(6));
    }

    #[test]
    fn the_advice_is_a_second_at_least() {
        let admission = Admission::new(1, 1);
        let _permit = admission.admit().unwrap();
        assert_eq!(admission.retry_after(), LEAST_RETRY_AFTER);
        admission.record(1, Duration::from_micros(10));
        assert_eq!(admission.retry_after(), LEAST_RETRY_AFTER);
    }

    #[test]
    fn two_engines_are_done_in_half_the_time() {
        let admission = Admission::new(40, 2);
        let _permits: Vec<_> = (0..40).map(|_| admission.admit().unwrap()).collect();
        admission.record(8, Duration::from_millis(800));
        assert_eq!(admission.retry_after(), Duration::from_secs(2));
    }

    #[test]
    fn absurd_times_do_not_overflow() {
        let admission = Admission::new(3, 1);
        let _permits: Vec<_> = (0..3).map(|_| admission.admit().unwrap()).collect();
        admission.record(0, Duration::MAX);
        admission.record(1, Duration::MAX);
        assert!(admission.retry_after() > LEAST_RETRY_AFTER);
    }
}
