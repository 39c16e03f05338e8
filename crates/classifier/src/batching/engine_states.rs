//! Tracks the state of each engine: idle, running a batch, running a self-test, being replaced, or hung. Like the
//! policy it has no clock and no channel; the current time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::Config;

/// The states of the engines of one batcher, by engine index.
#[derive(Debug)]
pub(super) struct EngineStates {
    /// The number of images that each engine runs, 0 if it is idle. A self-test or a replacement counts as one image.
    running: Vec<usize>,
    /// Whether each engine is being replaced.
    failed: Vec<bool>,
    /// When each engine entered its state.
    since: Vec<Instant>,
    /// Since when at least one engine has been idle. Absent while all are busy.
    idle_since: Option<Instant>,
    /// An engine that was idle for this long runs a self-test; never if zero.
    self_test_interval: Duration,
    /// An engine that is busy for longer is hung; never if zero.
    device_timeout: Duration,
}

impl EngineStates {
    /// Creates the states of `count` idle engines.
    pub(super) fn new(config: &Config, count: usize, now: Instant) -> Self {
        Self {
            running: vec![0; count],
            failed: vec![false; count],
            since: vec![now; count],
            idle_since: Some(now),
            self_test_interval: config.self_test_interval,
            device_timeout: config.device_timeout,
        }
    }

    /// Returns the number of images that each engine runs.
    pub(super) fn running(&self) -> &[usize] {
        &self.running
    }

    /// Returns whether all engines are idle.
    pub(super) fn are_idle(&self) -> bool {
        self.running.iter().all(|images| *images == 0)
    }

    /// Returns whether all engines are being replaced.
    pub(super) fn are_down(&self) -> bool {
        !self.failed.contains(&false)
    }

    /// Gives a batch of `images` to the first idle engine. Returns the engine's index, and since when an engine had
    /// been idle.
    ///
    /// # Panics
    ///
    /// Panics if no engine is idle.
    pub(super) fn begin_batch(&mut self, images: usize, now: Instant) -> (usize, Instant) {
        let engine = self.running.iter().position(|images| *images == 0).expect("an engine is idle");
        let idle_since = self.idle_since.unwrap_or(now);
        self.mark_busy(engine, images, now);
        (engine, idle_since)
    }

    /// Begins the self-test of the first engine that has been idle for the interval, and returns its index.
    pub(super) fn begin_self_test(&mut self, now: Instant) -> Option<usize> {
        let is_due = |engine: &usize| self.self_test_at(*engine).is_some_and(|at| at <= now);
        let engine = (0..self.running.len()).find(is_due)?;
        self.mark_busy(engine, 1, now);
        Some(engine)
    }

    /// Disables the self-tests of all engines.
    pub(super) fn disable_self_tests(&mut self) {
        self.self_test_interval = Duration::ZERO;
    }

    /// Records that an engine finished its work.
    pub(super) fn mark_idle(&mut self, engine: usize, now: Instant) {
        self.running[engine] = 0;
        self.since[engine] = now;
        self.idle_since.get_or_insert(now);
    }

    /// Records that an engine failed and is being replaced.
    pub(super) fn mark_failed(&mut self, engine: usize, now: Instant) {
        self.failed[engine] = true;
        self.mark_busy(engine, 1, now);
    }

    /// Records that an engine was replaced.
    pub(super) fn mark_recovered(&mut self, engine: usize, now: Instant) {
        self.failed[engine] = false;
        self.mark_idle(engine, now);
    }

    /// If an engine is hung, returns the time limit that it exceeded.
    pub(super) fn hung_for(&self, now: Instant) -> Option<Duration> {
        self.hung_at().filter(|at| *at <= now).map(|_| self.device_timeout)
    }

    /// Returns when the next self-test is due or the next engine counts as hung.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        (0..self.running.len()).filter_map(|engine| self.self_test_at(engine)).chain(self.hung_at()).min()
    }

    /// Returns when the first of the busy engines will count as hung.
    fn hung_at(&self) -> Option<Instant> {
        let busy = self.running.iter().zip(&self.since).filter(|(images, _)| **images > 0);
        let first = busy.map(|(_, since)| *since).min().filter(|_| !self.device_timeout.is_zero());
        first.and_then(|since| since.checked_add(self.device_timeout))
    }

    fn self_test_at(&self, engine: usize) -> Option<Instant> {
        let is_enabled = self.running[engine] == 0 && !self.self_test_interval.is_zero();
        self.since[engine].checked_add(self.self_test_interval).filter(|_| is_enabled)
    }

    fn mark_busy(&mut self, engine: usize, images: usize, now: Instant) {
        self.running[engine] = images;
        self.since[engine] = now;
        if !self.running.contains(&0) {
            self.idle_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn two_engines(now: Instant) -> EngineStates {
        EngineStates::new(&Config { self_test_interval: 30 * S, device_timeout: 60 * S, ..Config::default() }, 2, now)
    }

    #[test]
    fn first_idle_engine_gets_the_batch_and_the_start_of_the_idle_time_is_returned() {
        let now = Instant::now();
        let mut engines = two_engines(now);
        assert_eq!(engines.begin_batch(3, now + S), (0, now));
        assert_eq!(engines.begin_batch(4, now + 2 * S), (1, now));
        assert_eq!((engines.running(), engines.are_idle()), (&[3, 4][..], false));
        engines.mark_idle(1, now + 5 * S);
        engines.mark_idle(0, now + 6 * S);
        assert!(engines.are_idle());
        assert_eq!(engines.begin_batch(1, now + 7 * S), (0, now + 5 * S));
    }

    #[test]
    fn each_engine_that_is_idle_for_the_interval_runs_one_self_test() {
        let now = Instant::now();
        let mut engines = two_engines(now);
        engines.begin_batch(1, now);
        engines.mark_idle(0, now + 10 * S);
        assert_eq!(engines.wake_at(), Some(now + 30 * S));
        assert_eq!(engines.begin_self_test(now + 29 * S), None);
        assert_eq!(engines.begin_self_test(now + 30 * S), Some(1));
        assert_eq!(engines.begin_self_test(now + 30 * S), None);
        assert_eq!(engines.running(), [0, 1]);
        engines.mark_idle(1, now + 31 * S);
        assert_eq!(engines.begin_self_test(now + 40 * S), Some(0));
        assert_eq!(engines.wake_at(), Some(now + 61 * S));
        engines.mark_idle(0, now + 41 * S);
        engines.disable_self_tests();
        assert_eq!((engines.begin_self_test(now + 100 * S), engines.wake_at()), (None, None));
    }

    #[test]
    fn busy_engine_is_hung_after_the_timeout_in_every_busy_state() {
        let now = Instant::now();
        let mut engines = two_engines(now);
        assert_eq!(engines.hung_at(), None);
        engines.begin_self_test(now + 30 * S).unwrap();
        assert_eq!(engines.hung_at(), Some(now + 90 * S));
        engines.mark_failed(0, now + 40 * S);
        assert_eq!((engines.hung_at(), engines.are_down()), (Some(now + 100 * S), false));
        engines.mark_failed(1, now + 50 * S);
        assert!(engines.are_down());
        engines.mark_recovered(0, now + 60 * S);
        assert_eq!((engines.hung_at(), engines.are_down()), (Some(now + 110 * S), false));
    }

    #[test]
    fn zero_disables_self_test_and_timeout() {
        let now = Instant::now();
        let never = Config { self_test_interval: Duration::ZERO, device_timeout: Duration::ZERO, ..Config::default() };
        let mut engines = EngineStates::new(&never, 1, now);
        assert_eq!(engines.wake_at(), None);
        engines.begin_batch(1, now);
        assert_eq!(engines.wake_at(), None);
    }

    #[test]
    fn maximum_durations_do_not_overflow() {
        let now = Instant::now();
        let late = Config { self_test_interval: Duration::MAX, device_timeout: Duration::MAX, ..Config::default() };
        let mut engines = EngineStates::new(&late, 2, now);
        engines.begin_batch(1, now);
        assert_eq!(engines.wake_at(), None);
    }
}
