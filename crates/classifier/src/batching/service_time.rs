//! How long the engines take for a batch: `a * n + b`, fitted to the batches that were run, the latest the most. A guess is
//! only as good as the next hours are like the last minute.

use std::sync::Mutex;
use std::time::Duration;

/// What one batch before counts for beside the latest one. Some twenty of them make up the fit.
const MEMORY: f64 = 0.95;
/// Batches before anybody is refused by what they took: the first ones may have paid for first use.
const FEWEST: u32 = 8;

/// The fit. Cheap to record to.
#[derive(Debug, Default)]
pub(super) struct ServiceTime(Mutex<Sums>);

/// Weighted sums over batches: of one, size, its square, time, and time by size.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    batches: u32,
    weight: f64,
    size: f64,
    square: f64,
    seconds: f64,
    product: f64,
}

impl ServiceTime {
    /// A batch of `size` took that long.
    pub(super) fn record(&self, size: usize, took: Duration) {
        let (size, seconds) = (size as f64, took.as_secs_f64());
        let mut sums = self.lock();
        let before = *sums;
        *sums = Sums {
            batches: before.batches.saturating_add(1),
            weight: before.weight * MEMORY + 1.0,
            size: before.size * MEMORY + size,
            square: before.square * MEMORY + size * size,
            seconds: before.seconds * MEMORY + seconds,
            product: before.product * MEMORY + size * seconds,
        };
    }

    /// Whether enough was measured to refuse somebody by it.
    pub(super) fn is_settled(&self) -> bool {
        self.lock().batches >= FEWEST
    }

    /// Until `engines`, which take up to `most` pictures at once, are done with so many; nothing before a batch was run.
    pub(super) fn until_done(&self, pictures: usize, most: usize, engines: usize) -> Option<Duration> {
        let sums = *self.lock();
        let (slope, base) = (sums.batches > 0).then(|| sums.line())?;
        // The engines share evenly; what one of them has is whole batches and a rest.
        let each = pictures.div_ceil(engines.max(1));
        let batches = each.div_ceil(most.max(1));
        let seconds = slope * each as f64 + base * batches as f64;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sums> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Sums {
    /// Seconds a picture and seconds a batch, by least squares; neither is below zero.
    fn line(&self) -> (f64, f64) {
        let spread = self.weight * self.square - self.size * self.size;
        // Batches of one size tell of nothing but that size.
        let proportional = (self.product / self.square, 0.0);
        if spread <= 1e-9 * self.weight * self.square {
            return proportional;
        }
        let slope = (self.weight * self.product - self.size * self.seconds) / spread;
        let base = (self.seconds - slope * self.size) / self.weight;
        if slope < 0.0 {
            (0.0, self.seconds / self.weight)
        } else if base < 0.0 {
            proportional
        } else {
            (slope, base)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(batches: &[(usize, u64)]) -> ServiceTime {
        let times = ServiceTime::default();
        for (size, ms) in batches.iter().cycle().take(batches.len().max(40)) {
            times.record(*size, Duration::from_millis(*ms));
        }
        times
    }

    fn ms(times: &ServiceTime, pictures: usize, most: usize, engines: usize) -> u128 {
        (times.until_done(pictures, most, engines).unwrap() + Duration::from_micros(500)).as_millis()
    }

    #[test]
    fn the_line_is_found_and_counts_whole_batches() {
        // 3 ms a picture and 5 ms a batch.
        let times = fitted(&[(1, 8), (8, 29), (4, 17)]);
        assert_eq!(ms(&times, 1, 8, 1), 8);
        assert_eq!(ms(&times, 8, 8, 1), 29);
        assert_eq!(ms(&times, 20, 8, 1), 3 * 20 + 5 * 3);
        assert_eq!(ms(&times, 20, 8, 2), 3 * 10 + 5 * 2);
        assert_eq!(ms(&times, 0, 8, 2), 0);
    }

    #[test]
    fn one_size_alone_and_odd_measurements_give_sensible_guesses() {
        assert_eq!(ms(&fitted(&[(4, 40)]), 8, 4, 1), 80);
        // Larger batches that are quicker are no reason to expect the impossible of still larger ones.
        assert_eq!(ms(&fitted(&[(1, 30), (8, 10)]), 100, 100, 1), 20);
        // A line through the ground below one picture.
        assert!(ms(&fitted(&[(4, 10), (8, 100)]), 1, 8, 1) > 0);
    }

    #[test]
    fn the_latest_batches_count_the_most_and_a_few_settle_nothing() {
        let times = ServiceTime::default();
        assert_eq!(times.until_done(1, 1, 1), None);
        for _ in 0..FEWEST - 1 {
            times.record(1, Duration::from_secs(9));
        }
        assert_eq!((ms(&times, 1, 1, 1), times.is_settled()), (9000, false));
        for _ in 0..200 {
            times.record(1, Duration::from_millis(10));
        }
        assert_eq!((ms(&times, 1, 1, 1), times.is_settled()), (10, true));
    }

    #[test]
    fn absurd_times_do_not_overflow() {
        let times = fitted(&[(1, u64::MAX), (3, 1)]);
        assert!(times.until_done(usize::MAX, 1, 1).unwrap() > Duration::from_secs(1));
    }
}
