//! What each engine is at, and since when: who is free, who is to check itself, and who hangs. Like the policy it has no clock
//! and no channel; the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::Config;

/// The engines of one batcher, by their indices.
#[derive(Debug)]
pub(super) struct Engines {
    /// Pictures that each has at work; none if it is free. One that checks itself or is being replaced counts as one.
    running: Vec<usize>,
    /// Those that are being replaced.
    failed: Vec<bool>,
    /// Since when each has been at what it is at, or free.
    since: Vec<Instant>,
    /// Since when some engine has been free; none is where this is nothing.
    free_since: Option<Instant>,
    /// After so long without a batch an engine checks itself; never if zero.
    self_test_interval: Duration,
    /// Whoever is at something for longer hangs; never if zero.
    device_timeout: Duration,
}

impl Engines {
    /// So many, all of them free.
    pub(super) fn new(config: &Config, count: usize, now: Instant) -> Self {
        Self {
            running: vec![0; count],
            failed: vec![false; count],
            since: vec![now; count],
            free_since: Some(now),
            self_test_interval: config.self_test_interval,
            device_timeout: config.device_timeout,
        }
    }

    /// How many pictures each has at work.
    pub(super) fn running(&self) -> &[usize] {
        &self.running
    }

    /// None of them has anything to do.
    pub(super) fn are_idle(&self) -> bool {
        self.running.iter().all(|pictures| *pictures == 0)
    }

    /// Every one of them is being replaced.
    pub(super) fn are_down(&self) -> bool {
        !self.failed.contains(&false)
    }

    /// A free one begins with so many pictures: which, and since when one had been free for them.
    ///
    /// # Panics
    ///
    /// None is free.
    pub(super) fn begin(&mut self, pictures: usize, now: Instant) -> (usize, Instant) {
        let engine = self.running.iter().position(|pictures| *pictures == 0).expect("one is free");
        let free_since = self.free_since.unwrap_or(now);
        self.is_busy(engine, pictures, now);
        (engine, free_since)
    }

    /// One that has been free for long enough begins to check itself, if there is such a one.
    pub(super) fn begin_check(&mut self, now: Instant) -> Option<usize> {
        let is_due = |engine: &usize| self.checks_at(*engine).is_some_and(|at| at <= now);
        let engine = (0..self.running.len()).find(is_due)?;
        self.is_busy(engine, 1, now);
        Some(engine)
    }

    /// From now on none of them checks itself.
    pub(super) fn check_no_more(&mut self) {
        self.self_test_interval = Duration::ZERO;
    }

    /// It has done what it was at.
    pub(super) fn is_free(&mut self, engine: usize, now: Instant) {
        self.running[engine] = 0;
        self.since[engine] = now;
        self.free_since.get_or_insert(now);
    }

    /// It takes nothing until it is replaced.
    pub(super) fn has_failed(&mut self, engine: usize, now: Instant) {
        self.failed[engine] = true;
        self.is_busy(engine, 1, now);
    }

    /// It was replaced.
    pub(super) fn is_back(&mut self, engine: usize, now: Instant) {
        self.failed[engine] = false;
        self.is_free(engine, now);
    }

    /// Whether one of them hangs: it has been at something for as long as this.
    pub(super) fn hang(&self, now: Instant) -> Option<Duration> {
        self.hangs_at().filter(|at| *at <= now).map(|_| self.device_timeout)
    }

    /// When something is to be done about one of them, if nothing happens before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        (0..self.running.len()).filter_map(|engine| self.checks_at(engine)).chain(self.hangs_at()).min()
    }

    /// When the first of those that are busy now will have been so for too long.
    fn hangs_at(&self) -> Option<Instant> {
        let busy = self.running.iter().zip(&self.since).filter(|(pictures, _)| **pictures > 0);
        let first = busy.map(|(_, since)| *since).min().filter(|_| !self.device_timeout.is_zero());
        first.and_then(|since| since.checked_add(self.device_timeout))
    }

    fn checks_at(&self, engine: usize) -> Option<Instant> {
        let checks = self.running[engine] == 0 && !self.self_test_interval.is_zero();
        self.since[engine].checked_add(self.self_test_interval).filter(|_| checks)
    }

    fn is_busy(&mut self, engine: usize, pictures: usize, now: Instant) {
        self.running[engine] = pictures;
        self.since[engine] = now;
        if !self.running.contains(&0) {
            self.free_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn two(now: Instant) -> Engines {
        Engines::new(&Config { self_test_interval: 30 * S, device_timeout: 60 * S, ..Config::default() }, 2, now)
    }

    #[test]
    fn the_first_free_engine_begins_and_it_is_told_since_when_one_was() {
        let now = Instant::now();
        let mut engines = two(now);
        assert_eq!(engines.begin(3, now + S), (0, now));
        assert_eq!(engines.begin(4, now + 2 * S), (1, now));
        assert_eq!((engines.running(), engines.are_idle()), (&[3, 4][..], false));
        engines.is_free(1, now + 5 * S);
        engines.is_free(0, now + 6 * S);
        assert!(engines.are_idle());
        assert_eq!(engines.begin(1, now + 7 * S), (0, now + 5 * S));
    }

    #[test]
    fn each_engine_that_has_been_free_for_long_checks_itself_once() {
        let now = Instant::now();
        let mut engines = two(now);
        engines.begin(1, now);
        engines.is_free(0, now + 10 * S);
        assert_eq!(engines.wake_at(), Some(now + 30 * S));
        assert_eq!(engines.begin_check(now + 29 * S), None);
        assert_eq!(engines.begin_check(now + 30 * S), Some(1));
        assert_eq!(engines.begin_check(now + 30 * S), None);
        assert_eq!(engines.running(), [0, 1]);
        engines.is_free(1, now + 31 * S);
        assert_eq!(engines.begin_check(now + 40 * S), Some(0));
        assert_eq!(engines.wake_at(), Some(now + 61 * S));
        engines.is_free(0, now + 41 * S);
        engines.check_no_more();
        assert_eq!((engines.begin_check(now + 100 * S), engines.wake_at()), (None, None));
    }

    #[test]
    fn whoever_is_busy_for_too_long_hangs_whatever_he_is_at() {
        let now = Instant::now();
        let mut engines = two(now);
        assert_eq!(engines.hangs_at(), None);
        engines.begin_check(now + 30 * S).unwrap();
        assert_eq!(engines.hangs_at(), Some(now + 90 * S));
        engines.has_failed(0, now + 40 * S);
        assert_eq!((engines.hangs_at(), engines.are_down()), (Some(now + 100 * S), false));
        engines.has_failed(1, now + 50 * S);
        assert!(engines.are_down());
        engines.is_back(0, now + 60 * S);
        assert_eq!((engines.hangs_at(), engines.are_down()), (Some(now + 110 * S), false));
    }

    #[test]
    fn what_is_set_to_zero_never_happens() {
        let now = Instant::now();
        let never = Config { self_test_interval: Duration::ZERO, device_timeout: Duration::ZERO, ..Config::default() };
        let mut engines = Engines::new(&never, 1, now);
        assert_eq!(engines.wake_at(), None);
        engines.begin(1, now);
        assert_eq!(engines.wake_at(), None);
    }

    #[test]
    fn what_is_set_to_the_end_of_time_never_happens() {
        let now = Instant::now();
        let late = Config { self_test_interval: Duration::MAX, device_timeout: Duration::MAX, ..Config::default() };
        let mut engines = Engines::new(&late, 2, now);
        engines.begin(1, now);
        assert_eq!(engines.wake_at(), None);
    }
}
