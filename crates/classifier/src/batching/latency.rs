//! Predicts how long an image will take. [`BatchTimeModel`] is fitted to the batches that were run;
//! [`OverheadEstimator`] learns the rest from how long images really took.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The factor by which each batch reduces the weight of the batches before it. About twenty batches determine the fit.
const DECAY: f64 = 0.95;
/// How many batches are measured before images are rejected because of their deadline. The first batches may be slow,
/// since they include work of the first use.
const MIN_BATCHES: u32 = 8;

/// Weight of an image that was alone.
const WEIGHT_ALONE: f64 = 0.05;
/// Weights of an image that took longer, or less long, than predicted. They differ so that nearly all images take at
/// most as long as predicted: with equal weights, half of the images that are admitted for half of their time would be
/// late.
const WEIGHT_SLOWER: f64 = 0.05;
const WEIGHT_FASTER: f64 = 0.005;
/// The maximum growth of the factor by one image, so that one image that hung does not determine it.
const MAX_GROWTH: f64 = 1.5;
/// The maximum of the factor.
const MAX_FACTOR: f64 = 50.0;

/// The time of a batch of `n` images as `a * n + b`, fitted to recent batches by weighted least squares.
#[derive(Debug, Default)]
pub(super) struct BatchTimeModel(Mutex<Sums>);

/// Weighted sums over batches: of one, the size, its square, the time, and the product of time and size.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    batches: u32,
    weight: f64,
    size: f64,
    square: f64,
    seconds: f64,
    product: f64,
}

impl BatchTimeModel {
    /// Records that a batch of `size` images took `took`.
    pub(super) fn record(&self, size: usize, took: Duration) {
        let (size, seconds) = (size as f64, took.as_secs_f64());
        let mut sums = self.lock();
        let before = *sums;
        *sums = Sums {
            batches: before.batches.saturating_add(1),
            weight: before.weight * DECAY + 1.0,
            size: before.size * DECAY + size,
            square: before.square * DECAY + size * size,
            seconds: before.seconds * DECAY + seconds,
            product: before.product * DECAY + size * seconds,
        };
    }

    /// Returns whether enough batches were measured to reject images because of their deadline.
    pub(super) fn is_settled(&self) -> bool {
        self.lock().batches >= MIN_BATCHES
    }

    /// Returns how long `engines` engines, each with batches of up to `max_batch_size` images, take for `images`
    /// images. Returns nothing before the first batch.
    pub(super) fn time_for(&self, images: usize, max_batch_size: usize, engines: usize) -> Option<Duration> {
        let sums = *self.lock();
        let (slope, base) = (sums.batches > 0).then(|| sums.line())?;
        // The engines get equal shares. A share consists of full batches and a rest.
        let share = images.div_ceil(engines.max(1));
        let batches = share.div_ceil(max_batch_size.max(1));
        let seconds = slope * share as f64 + base * batches as f64;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        // A poisoned lock still holds consistent data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    /// Returns the seconds per image and the seconds per batch. Neither is negative.
    fn line(&self) -> (f64, f64) {
        let spread = self.weight * self.square - self.size * self.size;
        let proportional = (self.product / self.square, 0.0);
        // Batches of one size do not determine a line.
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

/// Learns the latency that the batch times do not explain: decoding, and contention for the cores between images,
/// engines and connections.
#[derive(Debug)]
pub(super) struct OverheadEstimator(Mutex<Overhead>);

#[derive(Clone, Copy, Debug)]
struct Overhead {
    /// Seconds that a single image takes in addition to its batch, without other load.
    seconds: f64,
    /// The factor by which other load slows an image down.
    factor: f64,
}

impl Default for OverheadEstimator {
    fn default() -> Self {
        Self(Mutex::new(Overhead { seconds: 0.0, factor: 1.0 }))
    }
}

impl OverheadEstimator {
    /// Returns the expected latency of an image whose batches take `batch_time`.
    pub(super) fn predict(&self, batch_time: Duration) -> Duration {
        let Overhead { seconds, factor } = *self.lock();
        Duration::try_from_secs_f64(seconds + factor * batch_time.as_secs_f64()).unwrap_or(Duration::MAX)
    }

    /// Records an image that took `actual` where the batch times alone predicted `batch_time`. `alone` means that no
    /// other image was in flight when it arrived.
    fn record(&self, batch_time: Duration, actual: Duration, alone: bool) {
        let (batch_time, actual) = (batch_time.as_secs_f64(), actual.as_secs_f64());
        if batch_time <= 0.0 {
            return;
        }
        let mut overhead = self.lock();
        if alone {
            overhead.seconds += WEIGHT_ALONE * ((actual - batch_time).max(0.0) - overhead.seconds);
            // There is no contention now, so the factor slowly returns to 1.
            overhead.factor += WEIGHT_FASTER * (1.0 - overhead.factor);
            return;
        }
        let factor = ((actual - overhead.seconds) / batch_time).clamp(1.0, MAX_GROWTH * overhead.factor);
        let weight = if factor > overhead.factor { WEIGHT_SLOWER } else { WEIGHT_FASTER };
        overhead.factor = (overhead.factor + weight * (factor - overhead.factor)).min(MAX_FACTOR);
    }

    fn lock(&self) -> MutexGuard<'_, Overhead> {
        // A poisoned lock still holds consistent data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The predicted latency of one admitted image.
#[derive(Debug)]
pub(super) struct LatencyPrediction {
    overhead: Arc<OverheadEstimator>,
    admitted: Instant,
    batch_time: Duration,
    alone: bool,
}

impl LatencyPrediction {
    /// Creates the prediction for an image that is admitted now.
    pub(super) fn new(overhead: &Arc<OverheadEstimator>, batch_time: Duration, alone: bool) -> Self {
        Self { overhead: Arc::clone(overhead), admitted: Instant::now(), batch_time, alone }
    }

    /// Records that the image is done, in time or not, which improves later predictions.
    pub(super) fn record_completion(&self) {
        self.overhead.record(self.batch_time, self.admitted.elapsed(), self.alone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(batches: &[(usize, u64)]) -> BatchTimeModel {
        let model = BatchTimeModel::default();
        for (size, ms) in batches.iter().cycle().take(batches.len().max(40)) {
            model.record(*size, Duration::from_millis(*ms));
        }
        model
    }

    fn time_in_ms(model: &BatchTimeModel, images: usize, max_batch_size: usize, engines: usize) -> u128 {
        (model.time_for(images, max_batch_size, engines).unwrap() + Duration::from_micros(500)).as_millis()
    }

    #[test]
    fn line_is_fitted_and_applied_to_full_batches_and_a_rest() {
        // 3 ms an image and 5 ms a batch.
        let model = fitted(&[(1, 8), (8, 29), (4, 17)]);
        assert_eq!(time_in_ms(&model, 1, 8, 1), 8);
        assert_eq!(time_in_ms(&model, 8, 8, 1), 29);
        assert_eq!(time_in_ms(&model, 20, 8, 1), 3 * 20 + 5 * 3);
        assert_eq!(time_in_ms(&model, 20, 8, 2), 3 * 10 + 5 * 2);
        assert_eq!(time_in_ms(&model, 0, 8, 2), 0);
    }

    #[test]
    fn single_batch_size_and_implausible_measurements_give_plausible_times() {
        assert_eq!(time_in_ms(&fitted(&[(4, 40)]), 8, 4, 1), 80);
        // A negative slope is not extrapolated to larger batches.
        assert_eq!(time_in_ms(&fitted(&[(1, 30), (8, 10)]), 100, 100, 1), 20);
        // The fitted line is negative for one image.
        assert!(time_in_ms(&fitted(&[(4, 10), (8, 100)]), 1, 8, 1) > 0);
    }

    #[test]
    fn recent_batches_weigh_most_and_few_batches_do_not_settle_the_model() {
        let model = BatchTimeModel::default();
        assert_eq!(model.time_for(1, 1, 1), None);
        for _ in 0..MIN_BATCHES - 1 {
            model.record(1, Duration::from_secs(9));
        }
        assert_eq!((time_in_ms(&model, 1, 1, 1), model.is_settled()), (9000, false));
        for _ in 0..200 {
            model.record(1, Duration::from_millis(10));
        }
        assert_eq!((time_in_ms(&model, 1, 1, 1), model.is_settled()), (10, true));
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let model = fitted(&[(1, u64::MAX), (3, 1)]);
        assert!(model.time_for(usize::MAX, 1, 1).unwrap() > Duration::from_secs(1));
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn overhead_follows_a_machine_that_becomes_busy_and_idle_again() {
        let overhead = OverheadEstimator::default();
        assert_eq!(overhead.predict(ms(100)), ms(100));
        (0..150).for_each(|_| overhead.record(ms(100), ms(300), false));
        let expected = overhead.predict(ms(100));
        assert!((ms(290)..ms(310)).contains(&expected), "{expected:?}");
        (0..5000).for_each(|_| overhead.record(ms(10), ms(12), true));
        let expected = overhead.predict(ms(100));
        assert!((ms(100)..ms(105)).contains(&expected), "{expected:?}");
    }

    #[test]
    fn nearly_all_images_take_at_most_the_predicted_time() {
        let overhead = OverheadEstimator::default();
        let spread = [100, 110, 120, 130, 140, 150, 160, 170, 180, 190];
        (0..5000).for_each(|round| overhead.record(ms(100), ms(spread[round % 10]), false));
        let expected = overhead.predict(ms(100));
        assert!((ms(170)..ms(190)).contains(&expected), "{expected:?}");
    }

    #[test]
    fn one_hung_image_changes_the_prediction_little() {
        let overhead = OverheadEstimator::default();
        overhead.record(ms(10), Duration::from_secs(3600), false);
        assert!(overhead.predict(ms(100)) <= ms(120));
        overhead.record(Duration::ZERO, ms(5), false);
        assert!(overhead.predict(Duration::MAX) == Duration::MAX);
    }
}
