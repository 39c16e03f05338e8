//! Images, batches and engines of one model version, also under the names of Triton's metrics.
//!
//! All series are looked up once, so that recording takes nanoseconds. Triton's series belong to a version. The others
//! belong to the model: versions that run in parallel add up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::definitions::{self as n, Metric};
use super::loaded_models::LoadedModel;
use crate::telemetry::{Phase, PhaseTimings};

/// The result of a lookup in the response cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// The response was cached.
    Hit,
    /// The response was not cached. The request runs, and its response is cached if it succeeds.
    Miss,
    /// An identical request was in flight; both receive one response.
    Coalesced,
    /// The client requested a fresh response.
    Bypassed,
}

impl CacheOutcome {
    const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Coalesced, Self::Bypassed];

    /// Returns `hit`, `miss`, `coalesced` or `bypassed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::Bypassed => "bypassed",
        }
    }
}

/// The reason why a request failed, in Triton's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The queue was full, or the deadline could not be met.
    Rejected,
    /// The client disconnected.
    Canceled,
    /// The engine failed.
    Backend,
    /// Another reason, mostly an invalid image.
    Other,
}

impl FailureReason {
    const ALL: [Self; 4] = [Self::Rejected, Self::Canceled, Self::Backend, Self::Other];

    fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Canceled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

/// Durations of one answered request, divided as Triton divides them.
#[derive(Clone, Copy, Debug)]
pub struct RequestDurations {
    /// The whole request.
    pub request: Duration,
    /// Waiting.
    pub queue: Duration,
    /// Decoding and resizing.
    pub input: Duration,
    /// The engine's work.
    pub infer: Duration,
    /// Ranking and labels.
    pub output: Duration,
}

/// Records the work of one model version. Cheap to clone. When the last clone is dropped, its values are subtracted from the
/// gauges, and the series of the version are not exported any more.
#[derive(Clone, Debug)]
pub struct ModelMetrics(Arc<Series>);

#[derive(Debug)]
struct Series {
    model: Arc<str>,
    phases: [Histogram; Phase::COUNT],
    total: Histogram,
    in_flight: Gauge,
    queue_capacity: GaugeGuard,
    queue_depth: GaugeGuard,
    counts_capacity: AtomicBool,
    /// Number of engines, and the capacity of their queue.
    capacity: [AtomicUsize; 2],
    deadline_passed: Counter,
    batch_size: Histogram,
    batch_seconds: Histogram,
    padding: Counter,
    engines: GaugeGuard,
    cache: [Counter; 4],
    triton: TritonSeries,
    _loaded: LoadedModel,
}

impl ModelMetrics {
    /// Creates the series of a version. If no recorder is installed yet, they record nothing.
    pub fn new(model: &str, version: &str) -> Self {
        Self::create(model, version, true)
    }

    /// Creates the series of a version that runs beside the stable one on the same devices. Its engines and its queue
    /// capacity are not counted, since they do not add to the capacity of the devices.
    pub fn beside_stable(model: &str, version: &str) -> Self {
        Self::create(model, version, false)
    }

    fn create(model: &str, version: &str, counts_capacity: bool) -> Self {
        let model: Arc<str> = model.into();
        let name = || Arc::clone(&model);
        let counter = |metric: Metric| counter!(metric.name, "model" => name());
        let gauge = |metric: Metric| gauge!(metric.name, "model" => name());
        let histogram = |metric: Metric| histogram!(metric.name, "model" => name());
        let phase = |phase: &'static str| histogram!(n::PHASE_SECONDS.name, "model" => name(), "phase" => phase);
        let series = Series {
            model: name(),
            phases: Phase::ALL.map(|each| phase(each.as_str())),
            total: phase("total"),
            in_flight: gauge(n::INFLIGHT_IMAGES),
            queue_capacity: GaugeGuard::new(gauge(n::QUEUE_CAPACITY)),
            queue_depth: GaugeGuard::new(gauge(n::QUEUE_DEPTH)),
            counts_capacity: AtomicBool::new(counts_capacity),
            capacity: Default::default(),
            deadline_passed: counter!(n::DROPPED.name, "model" => name(), "reason" => "deadline"),
            batch_size: histogram(n::BATCH_SIZE),
            batch_seconds: histogram(n::BATCH_SECONDS),
            padding: counter(n::PADDING_IMAGES),
            engines: GaugeGuard::new(gauge(n::ENGINES)),
            cache: CacheOutcome::ALL
                .map(|outcome| counter!(n::CACHE_REQUESTS.name, "model" => name(), "outcome" => outcome.as_str())),
            triton: TritonSeries::new(&model, version),
            _loaded: LoadedModel::new(&model, version),
        };
        // The counters start at zero. The gauge may contain images of another version.
        series.in_flight.increment(0.0);
        let Series { deadline_passed, padding, cache, .. } = &series;
        [deadline_passed, padding].into_iter().chain(cache).for_each(|counter| counter.increment(0));
        Self(Arc::new(series))
    }

    /// Returns the model's name.
    pub fn model(&self) -> &str {
        &self.0.model
    }

    /// Sets the number of engines and the capacity of their queue.
    pub fn engines(&self, engines: usize, capacity: usize) {
        self.0.capacity[0].store(engines, Ordering::Relaxed);
        self.0.capacity[1].store(capacity, Ordering::Relaxed);
        self.show_capacity();
    }

    /// Sets whether the version is the stable one. Only the engines and the queue of the stable version are counted.
    pub fn set_stable(&self, is_stable: bool) {
        self.0.counts_capacity.store(is_stable, Ordering::Relaxed);
        self.show_capacity();
    }

    fn show_capacity(&self) {
        let is_counted = self.0.counts_capacity.load(Ordering::Relaxed);
        let [engines, capacity] = &self.0.capacity;
        for (gauge, value) in [(&self.0.engines, engines), (&self.0.queue_capacity, capacity)] {
            gauge.set(if is_counted { value.load(Ordering::Relaxed) } else { 0 });
        }
    }

    /// Counts a lookup in the response cache.
    pub fn cache_lookup(&self, outcome: CacheOutcome) {
        self.0.cache[outcome as usize].increment(1);
    }

    /// Records the phases of an answered image.
    pub fn phases(&self, timings: &PhaseTimings) {
        timings.nonzero().for_each(|(phase, duration)| self.0.phases[phase as usize].record(duration));
        self.0.total.record(timings.total());
    }

    /// Adds `change` to the number of images in flight.
    pub fn in_flight(&self, change: isize) {
        self.0.in_flight.increment(change as f64);
    }

    /// Sets the number of images that wait for an engine.
    pub fn queue_depth(&self, images: usize) {
        self.0.queue_depth.set(images);
        self.0.triton.pending.set(images);
    }

    /// Counts an image that did not run because its deadline had passed.
    pub fn deadline_passed(&self) {
        self.0.deadline_passed.increment(1);
    }

    /// Counts a batch that was given to an engine.
    pub fn batch_dispatched(&self, images: usize, reason: &'static str) {
        self.0.batch_size.record(images as f64);
        counter!(n::BATCHES.name, "model" => Arc::clone(&self.0.model), "reason" => reason).increment(1);
    }

    /// Counts a batch that an engine ran, with `padding` rows besides the images.
    pub fn batch_completed(&self, images: usize, padding: usize, duration: Duration) {
        self.0.batch_seconds.record(duration);
        self.0.padding.increment(padding as u64);
        self.0.triton.batch_completed(images);
    }

    /// Sets the bytes that the allocator of one of the model's devices holds.
    pub fn device_memory(&self, device: String, bytes: u64) {
        gauge!(n::DEVICE_MEMORY.name, "model" => Arc::clone(&self.0.model), "device" => device).set(bytes as f64);
    }

    /// Counts an answered request.
    pub fn request_succeeded(&self, durations: RequestDurations) {
        self.0.triton.request_succeeded(durations);
    }

    /// Counts a failed request.
    pub fn request_failed(&self, reason: FailureReason) {
        self.0.triton.failures[reason as usize].increment(1);
    }
}

/// The series of one version under the names of Triton's own metrics, which existing dashboards and autoscalers read.
#[derive(Debug)]
struct TritonSeries {
    success: Counter,
    failures: [Counter; 4],
    count: Counter,
    exec_count: Counter,
    request: Counter,
    queue: Counter,
    input: Counter,
    infer: Counter,
    output: Counter,
    pending: GaugeGuard,
}

impl TritonSeries {
    fn new(model: &Arc<str>, version: &str) -> Self {
        let version: Arc<str> = version.into();
        let counter =
            |metric: Metric| counter!(metric.name, "model" => Arc::clone(model), "version" => Arc::clone(&version));
        let failures = |reason: FailureReason| {
            let (model, version) = (Arc::clone(model), Arc::clone(&version));
            counter!(n::NV_FAILURE.name, "model" => model, "version" => version, "reason" => reason.as_str())
        };
        let series = Self {
            success: counter(n::NV_SUCCESS),
            failures: FailureReason::ALL.map(failures),
            count: counter(n::NV_COUNT),
            exec_count: counter(n::NV_EXEC_COUNT),
            request: counter(n::NV_REQUEST_US),
            queue: counter(n::NV_QUEUE_US),
            input: counter(n::NV_INPUT_US),
            infer: counter(n::NV_INFER_US),
            output: counter(n::NV_OUTPUT_US),
            pending: GaugeGuard::new(
                gauge!(n::NV_PENDING.name, "model" => Arc::clone(model), "version" => Arc::clone(&version)),
            ),
        };
        // The counters start at zero.
        series.failures.iter().chain([&series.success]).for_each(|counter| counter.increment(0));
        series
    }

    fn request_succeeded(&self, durations: RequestDurations) {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let RequestDurations { request, queue, input, infer, output } = durations;
        self.success.increment(1);
        self.request.increment(us(request));
        self.queue.increment(us(queue));
        self.input.increment(us(input));
        self.infer.increment(us(infer));
        self.output.increment(us(output));
    }

    fn batch_completed(&self, images: usize) {
        self.count.increment(images as u64);
        self.exec_count.increment(1);
    }
}

/// One version's part of a gauge that several versions add up to. Dropping it subtracts the part.
#[derive(Debug)]
struct GaugeGuard {
    gauge: Gauge,
    part: AtomicI64,
}

impl GaugeGuard {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(0.0);
        Self { gauge, part: AtomicI64::new(0) }
    }

    fn set(&self, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.gauge.increment((value - self.part.swap(value, Ordering::Relaxed)) as f64);
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.set(0);
    }
}
