//! Who is let in: the bound on how many pictures are inside, and whether one more can be served in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

use super::correction::Correction;
use super::service_time::ServiceTime;
use super::share::{Held, Share};
use super::state::OLDEST_EVERY;
use super::{AdmitError, Config, Priority};

/// HTTP counts `Retry-After` in whole seconds, and an earlier retry only adds to the load.
const LEAST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The right to have one picture inside, from before it is decoded until its answer is out.
/// Dropping it makes room for another picture.
#[derive(Debug)]
#[must_use = "a permit that is dropped admits nobody"]
pub struct Permit {
    _place: OwnedSemaphorePermit,
    _counted: Counted,
    _held: Option<Held>,
    expectation: Option<Expectation>,
}

/// What was expected of a picture when it came.
#[derive(Debug)]
struct Expectation {
    correction: Arc<Correction>,
    since: Instant,
    fitted: Duration,
    alone: bool,
}

impl Permit {
    /// Its picture is done with, in time or not, and others can be told better how long they will take.
    pub fn learn(&self) {
        if let Some(Expectation { correction, since, fitted, alone }) = &self.expectation {
            correction.learn(*fitted, since.elapsed(), *alone);
        }
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
    pub share: Option<Share>,
}

/// Counts the pictures inside, and knows how long they take.
#[derive(Debug)]
pub(super) struct Admission {
    permits: Arc<Semaphore>,
    /// Pictures inside, by priority.
    inside: Arc<[AtomicUsize; 3]>,
    capacity: usize,
    max_batch_size: usize,
    engines: usize,
    /// No engine can take a picture for now.
    paused: AtomicBool,
    times: ServiceTime,
    correction: Arc<Correction>,
    /// Somebody who waited has gone.
    pub(super) left: Notify,
}

impl Admission {
    pub(super) fn new(config: &Config, engines: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.queue_capacity)),
            inside: Arc::default(),
            capacity: config.queue_capacity,
            max_batch_size: config.max_batch_size,
            engines,
            paused: AtomicBool::new(false),
            times: ServiceTime::default(),
            correction: Arc::default(),
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
        let held = ask.share.as_ref().map(|share| share.hold(self.capacity)).transpose();
        let held = held.map_err(|most| AdmitError::ShareFull { most, retry_after: self.retry_after() })?;
        let counted = Counted::begin(&self.inside, ask.priority);
        let fitted = self.times.is_settled().then(|| self.fitted(self.before(ask.priority))).flatten();
        let alone = self.depth() <= 1;
        if let (Some(fitted), Some(deadline), false) = (fitted, ask.deadline, alone) {
            // Whoever is alone is let in: if what was measured is not true any more, he finds out.
            self.in_time(fitted, deadline)?;
        }
        let expectation = fitted.map(|fitted| {
            let correction = Arc::clone(&self.correction);
            Expectation { correction, since: Instant::now(), fitted, alone }
        });
        Ok(Permit { _place: place, _counted: counted, _held: held, expectation })
    }

    fn in_time(&self, fitted: Duration, deadline: Instant) -> Result<(), AdmitError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let expected = self.correction.apply(fitted);
        if expected <= left {
            return Ok(());
        }
        // By then so much is done that there is time for the rest.
        let retry_after = (expected - left).max(LEAST_RETRY_AFTER);
        Err(AdmitError::TooLate { expected, retry_after })
    }

    /// How many pictures are done when the last of a priority is: those of its own and of higher ones, what the engines have
    /// already, and the turns that the others get in between.
    fn before(&self, priority: Priority) -> usize {
        let count = |level: &AtomicUsize| level.load(Ordering::Relaxed);
        let (before, behind) = self.inside.split_at(priority as usize + 1);
        let before: usize = before.iter().map(count).sum();
        let behind: usize = behind.iter().map(count).sum();
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
        let fitted = self.fitted(self.depth());
        fitted.map(|fitted| self.correction.apply(fitted)).unwrap_or_default().max(LEAST_RETRY_AFTER)
    }

    fn fitted(&self, pictures: usize) -> Option<Duration> {
        self.times.until_done(pictures, self.max_batch_size, self.engines)
    }
}

/// Counts one picture as long as it lives.
#[derive(Debug)]
struct Counted(Arc<[AtomicUsize; 3]>, Priority);

impl Counted {
    fn begin(inside: &Arc<[AtomicUsize; 3]>, priority: Priority) -> Self {
        inside[priority as usize].fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(inside), priority)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0[self.1 as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Admission {
        fn admit_by(&self, deadline: Option<Instant>) -> Result<Permit, AdmitError> {
            self.admit(&Ask { deadline, ..Ask::default() })
        }
    }

    /// Engines that take 100 ms for a picture.
    fn measured(queue_capacity: usize, engines: usize) -> Admission {
        let admission = Admission::new(&Config { queue_capacity, ..Config::default() }, engines);
        (0..20).for_each(|_| admission.record(8, Duration::from_millis(800)));
        admission
    }

    #[test]
    fn the_bound_holds_and_a_dropped_permit_makes_room() {
        let admission = Admission::new(&Config { queue_capacity: 2, ..Config::default() }, 1);
        let first = admission.admit_by(None).unwrap();
        let _second = admission.admit_by(None).unwrap();
        assert_eq!(admission.depth(), 2);
        assert!(matches!(admission.admit_by(None), Err(AdmitError::Overloaded { .. })));
        drop(first);
        assert_eq!(admission.depth(), 1);
        let _third = admission.admit_by(None).unwrap();
    }

    #[test]
    fn the_advice_is_the_measured_time_for_all_that_is_inside() {
        for (engines, seconds) in [(1, 4), (2, 2)] {
            let admission = measured(40, engines);
            let _permits: Vec<_> = (0..40).map(|_| admission.admit_by(None).unwrap()).collect();
            assert_eq!(admission.retry_after(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn who_cannot_be_served_in_time_is_turned_away_on_arrival() {
        let admission = measured(40, 1);
        let now = Instant::now();
        let _permits: Vec<_> = (0..15).map(|_| admission.admit_by(None).unwrap()).collect();
        // The sixteenth would be done after 1.6 s.
        let late = admission.admit_by(Some(now + Duration::from_millis(1500)));
        let Err(AdmitError::TooLate { expected, retry_after }) = late else { panic!("{late:?}") };
        assert_eq!((expected.as_millis(), retry_after), (1600, LEAST_RETRY_AFTER));
        let later = admission.admit_by(Some(now + Duration::from_millis(10)));
        assert!(matches!(later, Err(AdmitError::TooLate { retry_after, .. }) if retry_after > LEAST_RETRY_AFTER));
        let _in_time = admission.admit_by(Some(now + Duration::from_secs(3))).unwrap();
        assert_eq!(admission.depth(), 16, "who was turned away holds no place");
    }

    #[test]
    fn a_lone_picture_is_tried_however_slow_the_engine_once_was() {
        let admission = measured(40, 1);
        let permit = admission.admit_by(Some(Instant::now() + Duration::from_millis(1))).unwrap();
        assert!(admission.admit_by(Some(Instant::now() + Duration::from_millis(1))).is_err());
        drop(permit);
        (0..200).for_each(|_| admission.record(1, Duration::from_micros(10)));
        let _two = [(); 2].map(|()| admission.admit_by(Some(Instant::now() + Duration::from_millis(100))).unwrap());
    }

    #[test]
    fn before_anything_was_measured_everybody_is_let_in() {
        let admission = Admission::new(&Config::default(), 1);
        let _permit = admission.admit_by(Some(Instant::now() + Duration::from_millis(1))).unwrap();
    }

    #[test]
    fn the_advice_is_a_second_at_least() {
        let admission = Admission::new(&Config::default(), 1);
        let _permit = admission.admit_by(None).unwrap();
        assert_eq!(admission.retry_after(), LEAST_RETRY_AFTER);
        (0..20).for_each(|_| admission.record(1, Duration::from_micros(10)));
        assert_eq!(admission.retry_after(), LEAST_RETRY_AFTER);
    }

    #[test]
    fn who_goes_before_others_does_not_wait_for_them() {
        let admission = measured(40, 1);
        let deadline = Some(Instant::now() + Duration::from_millis(1500));
        let low = Ask { priority: Priority::Low, ..Ask::default() };
        let _permits: Vec<_> = (0..30).map(|_| admission.admit(&low).unwrap()).collect();
        assert!(matches!(admission.admit(&Ask { deadline, ..low }), Err(AdmitError::TooLate { .. })));
        // The batch that may run now, and himself.
        let _high = admission.admit(&Ask { deadline, priority: Priority::High, share: None }).unwrap();
    }

    #[test]
    fn a_caller_fills_no_more_than_his_share() {
        let admission = Admission::new(&Config { queue_capacity: 8, ..Config::default() }, 1);
        let share = Share { fraction: 0.25, inside: Arc::default() };
        let ask = Ask { share: Some(share), ..Ask::default() };
        let first = admission.admit(&ask).unwrap();
        let _second = admission.admit(&ask).unwrap();
        assert!(matches!(admission.admit(&ask), Err(AdmitError::ShareFull { most: 2, .. })));
        assert_eq!(admission.depth(), 2, "who was turned away holds no place");
        let _other = admission.admit(&Ask::default()).unwrap();
        drop(first);
        let _third = admission.admit(&ask).unwrap();
    }
}
