//! The phases of one image's way through the server, and how long each of them took.
//!
//! [`PhaseTimings`] is the one record of where the time went. The JSON `timings_ms`, the `Server-Timing` header, the
//! phase histograms, the phase spans, Triton's counters and the access log are all produced from it.

use std::ops::{Index, IndexMut};
use std::time::Duration;

/// One phase of an image's processing. The phases follow each other without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the request's head until the classifier has the image: authentication, body upload, form parsing.
    Receive,
    /// Waiting for a decode thread.
    DecodeWait,
    /// From encoded bytes to pixels.
    Decode,
    /// Cropping, resizing and orienting, as far as the engine does not do so.
    Preprocess,
    /// Waiting while every engine is busy.
    Queue,
    /// Waiting although an engine is free: for other images, up to the maximum queue delay, and for the engine's
    /// thread.
    BatchWait,
    /// The engine's work on the whole batch.
    Device,
    /// From the engine's rows to classes and labels.
    Postprocess,
}

impl Phase {
    /// How many phases there are.
    pub const COUNT: usize = 8;

    /// All phases, in their order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Receive,
        Self::DecodeWait,
        Self::Decode,
        Self::Preprocess,
        Self::Queue,
        Self::BatchWait,
        Self::Device,
        Self::Postprocess,
    ];

    /// Returns the name that JSON, headers, metrics and spans use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::DecodeWait => "decode_wait",
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Queue => "queue",
            Self::BatchWait => "batch_wait",
            Self::Device => "device",
            Self::Postprocess => "postprocess",
        }
    }
}

/// How long each phase of one image, or of one tensor, took. A phase that did not happen is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimings([Duration; Phase::COUNT]);

impl PhaseTimings {
    /// Returns the sum of all phases. The phases have no gaps, so this is the whole time.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// Iterates over all phases in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> {
        Phase::ALL.into_iter().zip(self.0)
    }

    /// Iterates over the phases that happened: a tensor is not decoded, and a local file is not received.
    pub fn nonzero(&self) -> impl Iterator<Item = (Phase, Duration)> {
        self.iter().filter(|(_, took)| !took.is_zero())
    }
}

impl Index<Phase> for PhaseTimings {
    type Output = Duration;

    fn index(&self, phase: Phase) -> &Duration {
        &self.0[phase as usize]
    }
}

impl IndexMut<Phase> for PhaseTimings {
    fn index_mut(&mut self, phase: Phase) -> &mut Duration {
        &mut self.0[phase as usize]
    }
}

impl FromIterator<(Phase, Duration)> for PhaseTimings {
    fn from_iter<T: IntoIterator<Item = (Phase, Duration)>>(phases: T) -> Self {
        let mut timings = Self::default();
        phases.into_iter().for_each(|(phase, took)| timings[phase] += took);
        timings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_are_indexed_and_iterated_in_the_order_of_the_phases() {
        assert!(Phase::ALL.iter().enumerate().all(|(index, phase)| *phase as usize == index));
        let ms = Duration::from_millis;
        let timings = PhaseTimings::from_iter([(Phase::Device, ms(7)), (Phase::Receive, ms(1))]);
        assert_eq!((timings[Phase::Device], timings[Phase::Queue], timings.total()), (ms(7), ms(0), ms(8)));
        assert_eq!(timings.nonzero().collect::<Vec<_>>(), [(Phase::Receive, ms(1)), (Phase::Device, ms(7))]);
    }
}
