//! Instants to times of day. Spans need the latter, which jump when somebody sets the clock; so a request reads it once.

use std::time::{Instant, SystemTime};

/// One instant of which the time of day is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    instant: Instant,
    time: SystemTime,
}

impl Clock {
    /// Reads both clocks.
    pub(super) fn read() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// The time of day of another instant.
    pub(super) fn at(&self, instant: Instant) -> SystemTime {
        match instant.checked_duration_since(self.instant) {
            Some(after) => self.time + after,
            None => self.time.checked_sub(self.instant - instant).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn differences_stay_what_they_are_on_both_sides_of_the_reading() {
        let clock = Clock::read();
        let step = Duration::from_nanos(1_234_567);
        assert_eq!(clock.at(clock.instant), clock.time);
        assert_eq!(clock.at(clock.instant + step), clock.time + step);
        assert_eq!(clock.at(clock.instant - step), clock.time - step);
    }
}
