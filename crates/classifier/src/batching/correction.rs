//! What the fit of batch times leaves out: decoding, and that pictures, engines and connections share the cores. Learned from
//! how long pictures were really inside beside what was expected of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much a picture that was alone counts for.
const ALONE: f64 = 0.05;
/// How much one that took longer than expected does, and one that took less. Unequal, so that the expectation is one that
/// nearly all keep: of those who are let in for half of their time, half would be late.
const LATE: f64 = 0.05;
const EARLY: f64 = 0.005;
/// One picture that hung says little of the next.
const MOST_AT_ONCE: f64 = 1.5;
/// No machine is so much slower than its engines.
const MOST: f64 = 50.0;

/// The correction. Cheap to ask and to teach.
#[derive(Debug)]
pub(super) struct Correction(Mutex<Learned>);

#[derive(Clone, Copy, Debug)]
struct Learned {
    /// Seconds that a picture takes beside its engine's time when nothing else is going on.
    overhead: f64,
    /// By how much others slow it down.
    factor: f64,
}

impl Default for Correction {
    fn default() -> Self {
        Self(Mutex::new(Learned { overhead: 0.0, factor: 1.0 }))
    }
}

impl Correction {
    /// What is to be expected where the fit says `fitted`.
    pub(super) fn apply(&self, fitted: Duration) -> Duration {
        let Learned { overhead, factor } = *self.learned();
        Duration::try_from_secs_f64(overhead + factor * fitted.as_secs_f64()).unwrap_or(Duration::MAX)
    }

    /// A picture of which the fit said `fitted` was inside for `actual`; `alone` if no other was when it came.
    pub(super) fn learn(&self, fitted: Duration, actual: Duration, alone: bool) {
        let (fitted, actual) = (fitted.as_secs_f64(), actual.as_secs_f64());
        if fitted <= 0.0 {
            return;
        }
        let mut learned = self.learned();
        if alone {
            learned.overhead += ALONE * ((actual - fitted).max(0.0) - learned.overhead);
            // Nobody is slowed down by others now; what was learned of that is forgotten.
            learned.factor += EARLY * (1.0 - learned.factor);
            return;
        }
        let factor = ((actual - learned.overhead) / fitted).clamp(1.0, MOST_AT_ONCE * learned.factor);
        let weight = if factor > learned.factor { LATE } else { EARLY };
        learned.factor = (learned.factor + weight * (factor - learned.factor)).min(MOST);
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was expected of a picture when it came.
#[derive(Debug)]
pub(super) struct Expectation {
    correction: Arc<Correction>,
    since: Instant,
    fitted: Duration,
    alone: bool,
}

impl Expectation {
    /// What is expected from now on.
    pub(super) fn of(correction: &Arc<Correction>, fitted: Duration, alone: bool) -> Self {
        Self { correction: Arc::clone(correction), since: Instant::now(), fitted, alone }
    }

    /// The picture is done with, in time or not: others can be told better how long they will take.
    pub(super) fn learn(&self) {
        self.correction.learn(self.fitted, self.since.elapsed(), self.alone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_machine_that_is_slower_than_its_engines_is_found_out_and_one_that_gets_free_too() {
        let correction = Correction::default();
        assert_eq!(correction.apply(ms(100)), ms(100));
        (0..150).for_each(|_| correction.learn(ms(100), ms(300), false));
        let expected = correction.apply(ms(100));
        assert!((ms(290)..ms(310)).contains(&expected), "{expected:?}");
        (0..5000).for_each(|_| correction.learn(ms(10), ms(12), true));
        let expected = correction.apply(ms(100));
        assert!((ms(100)..ms(105)).contains(&expected), "{expected:?}");
    }

    #[test]
    fn nearly_all_keep_what_is_expected_of_them() {
        let correction = Correction::default();
        let spread = [100, 110, 120, 130, 140, 150, 160, 170, 180, 190];
        (0..5000).for_each(|round| correction.learn(ms(100), ms(spread[round % 10]), false));
        let expected = correction.apply(ms(100));
        assert!((ms(170)..ms(190)).contains(&expected), "{expected:?}");
    }

    #[test]
    fn one_that_hung_does_not_spoil_it() {
        let correction = Correction::default();
        correction.learn(ms(10), Duration::from_secs(3600), false);
        assert!(correction.apply(ms(100)) <= ms(120));
        correction.learn(Duration::ZERO, ms(5), false);
        assert!(correction.apply(Duration::MAX) == Duration::MAX);
    }
}
