//! The pictures, batches and engines of one version of a model. What each picture records is looked up once, so that it
//! takes nanoseconds. Triton's series are a version's own; the others are the model's, and versions that run side by side
//! add up.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::cache::CacheOutcome;
use super::names::{self as n, Metric};
use super::part::Part;
use super::triton::{Rejection, Shares, Triton};
use crate::telemetry::{Phase, PhaseTimings};

/// Records what one version of a model does. Cheap to clone. Made before a recorder is installed, it records nothing. What
/// the last clone leaves in the gauges is taken out when it is dropped.
#[derive(Clone, Debug)]
pub struct ModelMetrics(Arc<Series>);

#[derive(Debug)]
struct Series {
    model: &'static str,
    phases: [Histogram; Phase::COUNT],
    total: Histogram,
    inside: Gauge,
    capacity: Part,
    queue_depth: Part,
    /// Whether its engines are counted.
    is_counted: bool,
    late: Counter,
    batch_size: Histogram,
    batch_seconds: Histogram,
    padding: Counter,
    engines: Part,
    cache: [Counter; 4],
    triton: Triton,
}

impl ModelMetrics {
    /// The series of a version.
    pub fn new(model: &'static str, version: &str) -> Self {
        Self::of(model, version, true)
    }

    /// The same for one that runs beside the stable version on the same devices: its engines and its queue's capacity are not
    /// counted, for they add nothing to what the devices can do.
    pub fn beside(model: &'static str, version: &str) -> Self {
        Self::of(model, version, false)
    }

    fn of(model: &'static str, version: &str, is_counted: bool) -> Self {
        let count = |metric: Metric| counter!(metric.name, "model" => model);
        let level = |metric: Metric| gauge!(metric.name, "model" => model);
        let spread = |metric: Metric| histogram!(metric.name, "model" => model);
        let phase = |phase: &'static str| histogram!(n::PHASE_SECONDS.name, "model" => model, "phase" => phase);
        let all = Self(Arc::new(Series {
            model,
            phases: Phase::ALL.map(|each| phase(each.as_str())),
            total: phase("total"),
            inside: level(n::INSIDE),
            capacity: Part::new(level(n::CAPACITY)),
            queue_depth: Part::new(level(n::QUEUE_DEPTH)),
            is_counted,
            late: counter!(n::DROPPED.name, "model" => model, "reason" => "deadline"),
            batch_size: spread(n::BATCH_SIZE),
            batch_seconds: spread(n::BATCH_SECONDS),
            padding: count(n::PADDING),
            engines: Part::new(level(n::ENGINES)),
            cache: CacheOutcome::ALL
                .map(|outcome| counter!(n::CACHE_REQUESTS.name, "model" => model, "outcome" => outcome.word())),
            triton: Triton::new(model, version),
        }));
        all.begin();
        all
    }

    /// From zero on.
    fn begin(&self) {
        let Series { inside, late, padding, cache, .. } = &*self.0;
        // Another version may have something in it.
        inside.increment(0.0);
        [late, padding].into_iter().chain(cache).for_each(|counter| counter.increment(0));
    }

    /// The model's name.
    pub fn model(&self) -> &'static str {
        self.0.model
    }

    /// So many engines share a queue of that capacity.
    pub fn engines(&self, engines: usize, capacity: usize) {
        if self.0.is_counted {
            self.0.engines.set(engines);
            self.0.capacity.set(capacity);
        }
    }

    /// A kept answer was looked for.
    pub fn cache(&self, outcome: CacheOutcome) {
        self.0.cache[outcome as usize].increment(1);
    }

    /// Records the phases of an image that was answered.
    pub fn phases(&self, timings: &PhaseTimings) {
        timings.nonzero().for_each(|(phase, took)| self.0.phases[phase as usize].record(took));
        self.0.total.record(timings.total());
    }

    /// So many more pictures are inside, or fewer.
    pub fn inside(&self, change: isize) {
        self.0.inside.increment(change as f64);
    }

    /// So many pictures wait for an engine.
    pub fn queue_depth(&self, pictures: usize) {
        self.0.queue_depth.set(pictures);
        self.0.triton.pending(pictures);
    }

    /// A picture was not run because its deadline had passed.
    pub fn deadline_passed(&self) {
        self.0.late.increment(1);
    }

    /// A batch of so many pictures went to an engine, for that reason.
    pub fn dispatched(&self, pictures: usize, reason: &'static str) {
        self.0.batch_size.record(pictures as f64);
        counter!(n::BATCHES.name, "model" => self.0.model, "reason" => reason).increment(1);
    }

    /// A batch was run, with so many rows more than pictures.
    pub fn ran(&self, pictures: usize, padding: usize, took: Duration) {
        self.0.batch_seconds.record(took);
        self.0.padding.increment(padding as u64);
        self.0.triton.ran(pictures);
    }

    /// The allocator of a device that the model is on holds so many bytes.
    pub fn device_memory(&self, device: String, bytes: u64) {
        gauge!(n::DEVICE_MEMORY.name, "model" => self.0.model, "device" => device).set(bytes as f64);
    }

    /// A request was answered.
    pub fn answered(&self, shares: Shares) {
        self.0.triton.answered(shares);
    }

    /// A request was not answered.
    pub fn failed(&self, why: Rejection) {
        self.0.triton.failed(why);
    }
}
