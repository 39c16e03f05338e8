//! What one model has been asked and has answered since the start, as Triton's statistics extension counts it. Prometheus
//! gets its own numbers elsewhere.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use super::Timings;
use crate::batching::Timed;

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// When the last request was answered.
    pub last: Option<SystemTime>,
    /// Rows that were answered.
    pub rows: u64,
    /// Requests that were answered.
    pub success: Timed,
    /// Requests that were not.
    pub fail: Timed,
    /// Of those that were answered: waiting, for a decode thread and for an engine.
    pub queue: Timed,
    /// The same: decoding and resizing.
    pub input: Timed,
    /// The same: the engine's work on the batch.
    pub infer: Timed,
    /// The engine's runs by the size of the batch.
    pub runs: BTreeMap<usize, Timed>,
}

/// Counts. All requests of one model share it.
#[derive(Debug, Default)]
pub(super) struct Statistics(Mutex<Snapshot>);

impl Statistics {
    /// A request of `rows` rows that began at `started` ends now, with an answer that has `timings` or without one.
    pub(super) fn record(&self, started: Instant, timings: Option<Timings>, rows: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let took = started.elapsed();
        let Some(timings) = timings else {
            return all.fail.add(took);
        };
        all.last = Some(SystemTime::now());
        all.rows += rows as u64;
        all.success.add(took);
        all.input.add(timings.decode);
        all.infer.add(timings.inference);
        // Whatever else it waited for, so that the parts add up to the whole.
        all.queue.add(took.saturating_sub(timings.decode + timings.inference));
    }

    pub(super) fn snapshot(&self, runs: BTreeMap<usize, Timed>) -> Snapshot {
        Snapshot { runs, ..self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_parts_of_an_answered_request_add_up_and_a_failed_one_counts_as_such() {
        let statistics = Statistics::default();
        let ms = Duration::from_millis;
        let timings = Timings { decode: ms(2), queue: ms(1), inference: ms(5), total: ms(9) };
        let started = Instant::now().checked_sub(ms(20)).unwrap();
        statistics.record(started, Some(timings), 3);
        statistics.record(started, None, 7);
        let all = statistics.snapshot(BTreeMap::new());
        assert_eq!((all.rows, all.success.count, all.fail.count, all.queue.count), (3, 1, 1, 1));
        assert_eq!(all.success.total, all.queue.total + all.input.total + all.infer.total);
        assert!(all.success.total >= ms(20) && all.infer.total == ms(5) && all.last.is_some());
    }
}
