//! Where the time of one picture went: phases without gaps, so that they add up to the whole.

use std::time::{Duration, Instant};

/// Durations of the phases of one picture, or of one tensor. A phase that there was not is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the request's head until the classifier had the picture: the key, the body, the form.
    pub receive: Duration,
    /// Waiting for a thread that decodes.
    pub decode_wait: Duration,
    /// Bytes to pixels.
    pub decode: Duration,
    /// Cropping, resizing and orienting, as far as the engine does not do so.
    pub preprocess: Duration,
    /// Waiting while every engine was busy.
    pub queue: Duration,
    /// Waiting though an engine was free: for company, as long as the maximum queue delay has it, and for the engine's thread.
    pub batch_wait: Duration,
    /// The engine's work on the whole batch.
    pub device: Duration,
    /// From the engine's rows to classes and labels.
    pub postprocess: Duration,
    /// All of it.
    pub total: Duration,
}

impl Timings {
    /// The phases by name, in their order.
    pub fn phases(&self) -> [(&'static str, Duration); 8] {
        [
            ("receive", self.receive),
            ("decode_wait", self.decode_wait),
            ("decode", self.decode),
            ("preprocess", self.preprocess),
            ("queue", self.queue),
            ("batch_wait", self.batch_wait),
            ("device", self.device),
            ("postprocess", self.postprocess),
        ]
    }

    /// The phases so far.
    fn sum(&self) -> Duration {
        self.phases().into_iter().map(|(_, took)| took).sum()
    }
}

/// A picture under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Instant,
    timings: Timings,
}

impl Clock {
    /// The classifier has the picture of a request that began at `arrived`, or begins now.
    pub(super) fn start(arrived: Option<Instant>) -> Self {
        let now = Instant::now();
        let began = arrived.unwrap_or(now);
        Self { began, timings: Timings { receive: now - began, ..Timings::default() } }
    }

    /// When the request began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Since the end of the last phase that is known.
    fn since(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.timings.sum())
    }

    /// It is about to be decoded.
    pub(super) fn decoding(&mut self) {
        self.timings.decode_wait = self.since();
    }

    /// It is decoded.
    pub(super) fn decoded(&mut self) {
        self.timings.decode = self.since();
    }

    /// It is ready for the engine.
    pub(super) fn prepared(&mut self) {
        self.timings.preprocess = self.since();
    }

    /// It goes to the batcher.
    pub(super) fn submitted(&mut self) {
        // The way back from the decode thread is waiting too.
        self.timings.queue = self.since();
    }

    /// The batcher has answered, after having had it wait and run for so long.
    pub(super) fn ran(&mut self, queue: Duration, batch_wait: Duration, device: Duration) {
        self.timings.queue += queue;
        self.timings.batch_wait = batch_wait;
        self.timings.device = device;
    }

    /// The answer is there.
    pub(super) fn finish(mut self) -> Timings {
        self.timings.postprocess = self.since();
        self.timings.total = self.timings.sum();
        self.timings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_have_no_gaps() {
        let ms = Duration::from_millis;
        let arrived = Instant::now().checked_sub(ms(50)).unwrap();
        let mut clock = Clock::start(Some(arrived));
        clock.decoding();
        clock.decoded();
        clock.prepared();
        clock.submitted();
        clock.ran(ms(1), ms(2), ms(3));
        let timings = clock.finish();
        assert!(timings.receive >= ms(50) && timings.queue >= ms(1), "{timings:?}");
        assert_eq!((timings.batch_wait, timings.device), (ms(2), ms(3)));
        assert_eq!(timings.sum(), timings.total);
        assert!(timings.total >= ms(56) && timings.total <= arrived.elapsed() + ms(6), "{timings:?}");
    }
}
