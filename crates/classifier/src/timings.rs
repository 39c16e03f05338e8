//! Measures the phases of one image: they have no gaps, so that they add up to the whole time.

use std::time::{Duration, Instant};

use kiln_runtime::telemetry::{Phase, PhaseTimings};

/// Measures the phases of one image that is being processed.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhaseTimer {
    started: Instant,
    timings: PhaseTimings,
}

impl PhaseTimer {
    /// Starts when the classifier receives the image. The request began at `arrived`, or begins now.
    pub(super) fn start(arrived: Option<Instant>) -> Self {
        let now = Instant::now();
        let started = arrived.unwrap_or(now);
        Self { started, timings: PhaseTimings::from_iter([(Phase::Receive, now - started)]) }
    }

    /// Returns when the request began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Ends a phase that began when the last one ended.
    pub(super) fn end(&mut self, phase: Phase) {
        self.timings[phase] = self.started.elapsed().saturating_sub(self.timings.total());
    }

    /// Adds a duration that was measured elsewhere.
    pub(super) fn add(&mut self, phase: Phase, took: Duration) {
        self.timings[phase] += took;
    }

    /// Ends the last phase.
    pub(super) fn finish(mut self) -> PhaseTimings {
        self.end(Phase::Postprocess);
        self.timings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_have_no_gaps() {
        let ms = Duration::from_millis;
        let arrived = Instant::now().checked_sub(ms(50)).unwrap();
        let mut timer = PhaseTimer::start(Some(arrived));
        for phase in [Phase::DecodeWait, Phase::Decode, Phase::Preprocess, Phase::Queue] {
            timer.end(phase);
        }
        for (phase, took) in [(Phase::Queue, ms(1)), (Phase::BatchWait, ms(2)), (Phase::Device, ms(3))] {
            timer.add(phase, took);
        }
        let timings = timer.finish();
        assert!(timings[Phase::Receive] >= ms(50) && timings[Phase::Queue] >= ms(1), "{timings:?}");
        assert_eq!((timings[Phase::BatchWait], timings[Phase::Device]), (ms(2), ms(3)));
        assert_eq!(timings.iter().map(|(_, took)| took).sum::<Duration>(), timings.total());
        assert!(timings.total() >= ms(56) && timings.total() <= arrived.elapsed() + ms(6), "{timings:?}");
    }
}
