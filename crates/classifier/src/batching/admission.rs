//! Admits images: bounds the number of images in flight, and rejects images that are not expected to meet their
//! deadline.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

use super::Config;
use super::latency::{BatchTimeModel, LatencyPrediction, OverheadEstimator};
use super::policy::OLDEST_EVERY;
use crate::options::RequestOptions;
use kiln_runtime::scheduling::{Priority, QueueShareGuard};
use kiln_runtime::telemetry::metrics::ModelMetrics;

/// HTTP counts `Retry-After` in whole seconds, and an earlier retry only adds to the load.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why an image was not admitted. Every variant except [`AdmitError::Closed`] is temporary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The maximum number of images is in flight.
    #[error("the queue is full; retry in {retry_after:?}")]
    Overloaded {
        /// When a place is expected to be free: an estimate, at least one second.
        retry_after: Duration,
    },
    /// The caller has the maximum number of its images in flight.
    #[error("the caller has {limit} images in flight, which is its share of the queue")]
    ShareFull {
        /// The caller's maximum.
        limit: usize,
        /// When a place is expected to be free: an estimate, at least one second.
        retry_after: Duration,
    },
    /// According to recent batch times, the result is not expected before the deadline.
    #[error("the request is expected to take {expected:?}, which exceeds its deadline")]
    DeadlineUnmeetable {
        /// How long the request is expected to take.
        expected: Duration,
        /// When the deadline could be met: an estimate, at least one second.
        retry_after: Duration,
    },
    /// All engines failed and are being replaced. Afterwards the batcher admits images again, or the process ends.
    #[error("the device failed and is being replaced")]
    Recovering,
    /// The batcher is shutting down, or an engine cannot be replaced.
    #[error("the batcher is shutting down")]
    Closed,
}

/// The right to have one image in flight, from before it is decoded until its result is sent. Dropping it frees the
/// place.
#[derive(Debug)]
#[must_use = "dropping a permit frees its place in the queue"]
pub struct Permit {
    _place: OwnedSemaphorePermit,
    _in_flight: InFlightGuard,
    _share: Option<QueueShareGuard>,
}

/// An admitted image: its permit, and how long it is expected to take.
#[derive(Debug)]
#[must_use = "dropping a permit frees its place in the queue"]
pub struct Admitted {
    pub(super) permit: Permit,
    /// Absent before enough batches were measured.
    pub(super) prediction: Option<LatencyPrediction>,
}

impl Admitted {
    /// Records that the deadline passed before the image was submitted: it took longer than predicted.
    pub fn record_missed_deadline(&self) {
        if let Some(prediction) = &self.prediction {
            prediction.record_completion();
        }
    }
}

/// Bounds the images in flight, and predicts how long each will take.
#[derive(Debug)]
pub(super) struct Admission {
    permits: Arc<Semaphore>,
    in_flight: InFlight,
    capacity: usize,
    max_batch_size: usize,
    engines: usize,
    /// Whether all engines are being replaced.
    paused: AtomicBool,
    batch_times: BatchTimeModel,
    overhead: Arc<OverheadEstimator>,
    metrics: ModelMetrics,
    /// Images that are queued and whose client has left.
    pub(super) cancellations: Cancellations,
}

impl Admission {
    pub(super) fn new(config: &Config, engines: usize, metrics: ModelMetrics) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.queue_capacity)),
            in_flight: InFlight::default(),
            capacity: config.queue_capacity,
            max_batch_size: config.max_batch_size,
            engines,
            paused: AtomicBool::new(false),
            batch_times: BatchTimeModel::default(),
            overhead: Arc::default(),
            metrics,
            cancellations: Cancellations::default(),
        }
    }

    /// Admits an image if the queue has a place for it, and if it is expected to meet its deadline.
    pub(super) fn admit(&self, options: &RequestOptions) -> Result<Admitted, AdmitError> {
        if self.paused.load(Ordering::Relaxed) && !self.permits.is_closed() {
            return Err(AdmitError::Recovering);
        }
        let place = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits) => {
                return Err(AdmitError::Overloaded { retry_after: self.retry_after() });
            }
            Err(TryAcquireError::Closed) => return Err(AdmitError::Closed),
        };
        let share = options.share.as_ref().map(|share| share.acquire(self.capacity)).transpose();
        let share = share.map_err(|limit| AdmitError::ShareFull { limit, retry_after: self.retry_after() })?;
        let in_flight = self.in_flight.count(options.priority, &self.metrics);
        let batch_time =
            self.batch_times.is_settled().then(|| self.batch_time(self.images_before(options.priority, 0))).flatten();
        let alone = self.depth() <= 1;
        if let (Some(batch_time), Some(deadline), false) = (batch_time, options.deadline, alone) {
            // An image that is alone is always admitted: it corrects measurements that no longer hold.
            self.check_deadline(batch_time, deadline)?;
        }
        let prediction = batch_time.map(|batch_time| LatencyPrediction::new(&self.overhead, batch_time, alone));
        let permit = Permit { _place: place, _in_flight: in_flight, _share: share };
        Ok(Admitted { permit, prediction })
    }

    /// Returns the error with which [`Self::admit`] would reject an image now. Takes no place.
    pub(super) fn check(&self, options: &RequestOptions) -> Result<(), AdmitError> {
        if self.permits.is_closed() {
            return Err(AdmitError::Closed);
        }
        if self.paused.load(Ordering::Relaxed) {
            return Err(AdmitError::Recovering);
        }
        if self.permits.available_permits() == 0 {
            return Err(AdmitError::Overloaded { retry_after: self.retry_after() });
        }
        if let Some(limit) = options.share.as_ref().and_then(|share| share.reached_limit(self.capacity)) {
            return Err(AdmitError::ShareFull { limit, retry_after: self.retry_after() });
        }
        // As in `admit`, an image that is alone is not checked.
        let Some(deadline) = options.deadline.filter(|_| self.depth() > 0 && self.batch_times.is_settled()) else {
            return Ok(());
        };
        let batch_time = self.batch_time(self.images_before(options.priority, 1));
        batch_time.map_or(Ok(()), |batch_time| self.check_deadline(batch_time, deadline))
    }

    fn check_deadline(&self, batch_time: Duration, deadline: Instant) -> Result<(), AdmitError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let expected = self.overhead.predict(batch_time);
        // A tenth of the time is reserved for what is not measured here: sending the response to the client.
        if expected <= left.mul_f64(0.9) {
            return Ok(());
        }
        // After that time, enough of the queue is done for the rest to fit.
        let retry_after = expected.saturating_sub(left).max(MIN_RETRY_AFTER);
        Err(AdmitError::DeadlineUnmeetable { expected, retry_after })
    }

    /// Returns how many images run before or together with the last image of a priority: those of the same and of
    /// higher priorities, those that the engines already run, and those of lower priorities that run in between because
    /// of their age. `arriving` images of the priority are not counted yet.
    fn images_before(&self, priority: Priority, arriving: usize) -> usize {
        let (before, behind) = self.in_flight.count_around(priority);
        let before = before + arriving;
        before + behind.min(self.engines * self.max_batch_size + before / (OLDEST_EVERY - 1))
    }

    /// Stops or resumes admission.
    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Stops admission for good. Existing permits stay valid.
    pub(super) fn close(&self) {
        self.permits.close();
    }

    pub(super) fn metrics(&self) -> &ModelMetrics {
        &self.metrics
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns whether there are fewer images in flight than engines.
    pub(super) fn is_idle(&self) -> bool {
        self.depth() < self.engines
    }

    /// Returns the number of images in flight.
    pub(super) fn depth(&self) -> usize {
        self.capacity - self.permits.available_permits()
    }

    /// Records that an engine ran a batch of `images` in `took`.
    pub(super) fn record_batch(&self, images: usize, took: Duration) {
        self.batch_times.record(images, took);
    }

    /// Returns how long the engines are expected to need for all images in flight, at least one second.
    pub(super) fn retry_after(&self) -> Duration {
        let batch_time = self.batch_time(self.depth());
        batch_time.map(|time| self.overhead.predict(time)).unwrap_or_default().max(MIN_RETRY_AFTER)
    }

    fn batch_time(&self, images: usize) -> Option<Duration> {
        self.batch_times.time_for(images, self.max_batch_size, self.engines)
    }
}

/// The ids of images whose clients have left, for the scheduler.
#[derive(Debug, Default)]
pub(super) struct Cancellations {
    /// The scheduler takes them before each of its steps.
    ids: Mutex<Vec<u64>>,
    added: Notify,
}

impl Cancellations {
    /// Adds an id, and wakes the scheduler.
    pub(super) fn add(&self, id: u64) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        self.added.notify_one();
    }

    /// Removes and returns all ids.
    pub(super) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until an id is added.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }
}

/// Counts the images in flight by priority.
#[derive(Debug, Default)]
struct InFlight(Arc<[AtomicUsize; 3]>);

impl InFlight {
    /// Counts an image until the guard is dropped.
    fn count(&self, priority: Priority, metrics: &ModelMetrics) -> InFlightGuard {
        self.0[priority as usize].fetch_add(1, Ordering::Relaxed);
        metrics.in_flight(1);
        InFlightGuard { counts: Arc::clone(&self.0), priority, metrics: metrics.clone() }
    }

    /// Returns the number of images of this or a higher priority, and the number of images of a lower one.
    fn count_around(&self, priority: Priority) -> (usize, usize) {
        let sum = |levels: &[AtomicUsize]| levels.iter().map(|level| level.load(Ordering::Relaxed)).sum();
        let (before, behind) = self.0.split_at(priority as usize + 1);
        (sum(before), sum(behind))
    }
}

/// Counts one image as in flight until it is dropped.
#[derive(Debug)]
struct InFlightGuard {
    counts: Arc<[AtomicUsize; 3]>,
    priority: Priority,
    metrics: ModelMetrics,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.counts[self.priority as usize].fetch_sub(1, Ordering::Relaxed);
        self.metrics.in_flight(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_runtime::scheduling::QueueShare;

    fn new(queue_capacity: usize, engines: usize) -> Admission {
        Admission::new(&Config { queue_capacity, ..Config::default() }, engines, ModelMetrics::new("model", "1"))
    }

    /// Returns an admission whose engines take 100 ms for each image.
    fn measured(queue_capacity: usize, engines: usize) -> Admission {
        let admission = new(queue_capacity, engines);
        (0..20).for_each(|_| admission.record_batch(8, Duration::from_millis(800)));
        admission
    }

    impl Admission {
        fn admit_by(&self, deadline: Option<Instant>) -> Result<Admitted, AdmitError> {
            self.admit(&RequestOptions { deadline, ..RequestOptions::default() })
        }
    }

    #[test]
    fn capacity_bounds_the_permits_and_a_dropped_permit_frees_its_place() {
        let admission = new(2, 1);
        let first = admission.admit_by(None).unwrap();
        let _second = admission.admit_by(None).unwrap();
        assert_eq!(admission.depth(), 2);
        assert!(matches!(admission.admit_by(None), Err(AdmitError::Overloaded { .. })));
        drop(first);
        assert_eq!(admission.depth(), 1);
        let _third = admission.admit_by(None).unwrap();
    }

    #[test]
    fn retry_after_is_the_measured_time_for_all_images_in_flight() {
        for (engines, seconds) in [(1, 4), (2, 2)] {
            let admission = measured(40, engines);
            let _permits: Vec<_> = (0..40).map(|_| admission.admit_by(None).unwrap()).collect();
            assert_eq!(admission.retry_after(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn unmeetable_deadline_is_rejected_on_arrival() {
        let admission = measured(40, 1);
        let now = Instant::now();
        let _permits: Vec<_> = (0..15).map(|_| admission.admit_by(None).unwrap()).collect();
        // The sixteenth would be done after 1.6 s.
        let late = admission.admit_by(Some(now + Duration::from_millis(1500)));
        let Err(AdmitError::DeadlineUnmeetable { expected, retry_after }) = late else { panic!("{late:?}") };
        assert_eq!((expected.as_millis(), retry_after), (1600, MIN_RETRY_AFTER));
        let later = admission.admit_by(Some(now + Duration::from_millis(10)));
        assert!(
            matches!(later, Err(AdmitError::DeadlineUnmeetable { retry_after, .. }) if retry_after > MIN_RETRY_AFTER)
        );
        let _in_time = admission.admit_by(Some(now + Duration::from_secs(3))).unwrap();
        assert_eq!(admission.depth(), 16, "a rejected image holds no place");
    }

    #[test]
    fn check_predicts_the_admission_and_takes_no_place() {
        let admission = measured(16, 1);
        let soon = |millis| RequestOptions {
            deadline: Some(Instant::now() + Duration::from_millis(millis)),
            ..RequestOptions::default()
        };
        admission.check(&soon(1)).expect("an image that is alone is admitted");
        let mut permits: Vec<_> = (0..15).map(|_| admission.admit_by(None).unwrap()).collect();
        assert!(matches!(admission.check(&soon(1500)), Err(AdmitError::DeadlineUnmeetable { expected, .. })
            if expected == Duration::from_millis(1600)));
        admission.check(&soon(3000)).unwrap();
        assert_eq!(admission.depth(), 15);
        let share = QueueShare { fraction: 0.1, in_flight: Arc::default() };
        let limited = RequestOptions { share: Some(share), ..RequestOptions::default() };
        admission.check(&limited).unwrap();
        permits.push(admission.admit(&limited).unwrap());
        assert!(matches!(admission.check(&RequestOptions::default()), Err(AdmitError::Overloaded { .. })));
        drop(permits.remove(0));
        assert!(matches!(admission.check(&limited), Err(AdmitError::ShareFull { limit: 1, .. })));
        admission.set_paused(true);
        assert_eq!(admission.check(&RequestOptions::default()), Err(AdmitError::Recovering));
        admission.close();
        assert_eq!(admission.check(&RequestOptions::default()), Err(AdmitError::Closed));
    }

    #[test]
    fn single_image_is_admitted_despite_slow_measurements() {
        let admission = measured(40, 1);
        let permit = admission.admit_by(Some(Instant::now() + Duration::from_millis(1))).unwrap();
        assert!(admission.admit_by(Some(Instant::now() + Duration::from_millis(1))).is_err());
        drop(permit);
        (0..200).for_each(|_| admission.record_batch(1, Duration::from_micros(10)));
        let _two = [(); 2].map(|()| admission.admit_by(Some(Instant::now() + Duration::from_millis(100))).unwrap());
    }

    #[test]
    fn every_deadline_is_admitted_before_the_first_measurement() {
        let admission = Admission::new(&Config::default(), 1, ModelMetrics::new("model", "1"));
        let _permit = admission.admit_by(Some(Instant::now() + Duration::from_millis(1))).unwrap();
    }

    #[test]
    fn retry_after_is_at_least_one_second() {
        let admission = Admission::new(&Config::default(), 1, ModelMetrics::new("model", "1"));
        let _permit = admission.admit_by(None).unwrap();
        assert_eq!(admission.retry_after(), MIN_RETRY_AFTER);
        (0..20).for_each(|_| admission.record_batch(1, Duration::from_micros(10)));
        assert_eq!(admission.retry_after(), MIN_RETRY_AFTER);
    }

    #[test]
    fn high_priority_does_not_wait_for_low_priority() {
        let admission = measured(40, 1);
        let deadline = Some(Instant::now() + Duration::from_millis(1500));
        let low = RequestOptions { priority: Priority::Low, ..RequestOptions::default() };
        let _permits: Vec<_> = (0..30).map(|_| admission.admit(&low).unwrap()).collect();
        let late = admission.admit(&RequestOptions { deadline, ..low });
        assert!(matches!(late, Err(AdmitError::DeadlineUnmeetable { .. })));
        // It waits for the batch that may run now, and runs then.
        let high = RequestOptions { deadline, priority: Priority::High, ..RequestOptions::default() };
        let _high = admission.admit(&high).unwrap();
    }

    #[test]
    fn caller_is_limited_to_its_share_of_the_queue() {
        let admission = new(8, 1);
        let share = QueueShare { fraction: 0.25, in_flight: Arc::default() };
        let options = RequestOptions { share: Some(share), ..RequestOptions::default() };
        let first = admission.admit(&options).unwrap();
        let _second = admission.admit(&options).unwrap();
        assert!(matches!(admission.admit(&options), Err(AdmitError::ShareFull { limit: 2, .. })));
        assert_eq!(admission.depth(), 2, "a rejected image holds no place");
        let _other = admission.admit(&RequestOptions::default()).unwrap();
        drop(first);
        let _third = admission.admit(&options).unwrap();
    }
}
