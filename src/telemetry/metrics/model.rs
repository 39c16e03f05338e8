//! The pictures, batches and engines of one version of a model. The series are looked up once, so that to record takes
//! nanoseconds. Those of Triton are a version's own; the others are the model's, and versions that run side by side add up.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::cache::CacheOutcome;
use super::names::{self as n, Metric};
use super::part::Part;

/// Records what one version of a model does. Cheap to clone. Made before a recorder is installed, it records nothing. What
/// the last clone leaves in the gauges is taken out when it is dropped.
#[derive(Clone, Debug)]
pub struct ModelMetrics(Arc<Series>);

#[derive(Debug)]
struct Series {
    model: &'static str,
    version: Arc<str>,
    phases: [(&'static str, Histogram); 9],
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
    nv_success: Counter,
    nv_count: Counter,
    nv_exec_count: Counter,
    nv_request: Counter,
    nv_queue: Counter,
    nv_input: Counter,
    nv_infer: Counter,
    nv_output: Counter,
    nv_pending: Part,
}

/// The phases of a picture, in their order, and the whole.
const PHASES: [&str; 9] =
    ["receive", "decode_wait", "decode", "preprocess", "queue", "batch_wait", "device", "postprocess", "total"];

/// Why a request had no answer, in Triton's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There was no room or no time for it.
    Rejected,
    /// Its client went away.
    Canceled,
    /// The engine failed.
    Backend,
    /// Whatever else: mostly a picture that is none.
    Other,
}

impl Rejection {
    const ALL: [Self; 4] = [Self::Rejected, Self::Canceled, Self::Backend, Self::Other];

    fn word(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Canceled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

/// Durations of one answered request, as Triton divides them.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// All of it.
    pub request: Duration,
    /// Waiting.
    pub queue: Duration,
    /// Decoding and resizing.
    pub input: Duration,
    /// The engine.
    pub infer: Duration,
    /// Ranking and labels.
    pub output: Duration,
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
        let version: Arc<str> = version.into();
        let count = |metric: Metric| counter!(metric.name, "model" => model);
        let level = |metric: Metric| gauge!(metric.name, "model" => model);
        let spread = |metric: Metric| histogram!(metric.name, "model" => model);
        let nv = |metric: Metric| counter!(metric.name, "model" => model, "version" => Arc::clone(&version));
        let phase = |phase| (phase, histogram!(n::PHASE_SECONDS.name, "model" => model, "phase" => phase));
        let all = Self(Arc::new(Series {
            model,
            phases: PHASES.map(phase),
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
            nv_success: nv(n::NV_SUCCESS),
            nv_count: nv(n::NV_COUNT),
            nv_exec_count: nv(n::NV_EXEC_COUNT),
            nv_request: nv(n::NV_REQUEST_US),
            nv_queue: nv(n::NV_QUEUE_US),
            nv_input: nv(n::NV_INPUT_US),
            nv_infer: nv(n::NV_INFER_US),
            nv_output: nv(n::NV_OUTPUT_US),
            nv_pending: Part::new(gauge!(n::NV_PENDING.name, "model" => model, "version" => Arc::clone(&version))),
            version,
        }));
        all.begin();
        all
    }

    /// From zero on.
    fn begin(&self) {
        let Series { inside, late, padding, cache, nv_success, .. } = &*self.0;
        // Another version may have something in it.
        inside.increment(0.0);
        [late, padding, nv_success].into_iter().chain(cache).for_each(|counter| counter.increment(0));
        Rejection::ALL.into_iter().for_each(|why| self.failures(why).increment(0));
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

    /// A picture that was answered spent that long in a phase.
    ///
    /// # Panics
    ///
    /// There is no such phase.
    pub fn phase(&self, phase: &str, took: Duration) {
        let known = self.0.phases.iter().find(|(name, _)| *name == phase);
        known.expect("a phase of the list").1.record(took);
    }

    /// So many more pictures are inside, or fewer.
    pub fn inside(&self, change: isize) {
        self.0.inside.increment(change as f64);
    }

    /// So many pictures wait for an engine.
    pub fn queue_depth(&self, pictures: usize) {
        self.0.queue_depth.set(pictures);
        self.0.nv_pending.set(pictures);
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
        self.0.nv_count.increment(pictures as u64);
        self.0.nv_exec_count.increment(1);
    }

    /// The allocator of a device that the model is on holds so many bytes.
    pub fn device_memory(&self, device: String, bytes: u64) {
        gauge!(n::DEVICE_MEMORY.name, "model" => self.0.model, "device" => device).set(bytes as f64);
    }

    /// A request was answered.
    pub fn answered(&self, shares: Shares) {
        let us = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let Shares { request, queue, input, infer, output } = shares;
        let Series { nv_success, nv_request, nv_queue, nv_input, nv_infer, nv_output, .. } = &*self.0;
        nv_success.increment(1);
        nv_request.increment(us(request));
        nv_queue.increment(us(queue));
        nv_input.increment(us(input));
        nv_infer.increment(us(infer));
        nv_output.increment(us(output));
    }

    /// A request was not answered.
    pub fn failed(&self, why: Rejection) {
        self.failures(why).increment(1);
    }

    fn failures(&self, why: Rejection) -> Counter {
        let (model, version) = (self.0.model, Arc::clone(&self.0.version));
        counter!(n::NV_FAILURE.name, "model" => model, "version" => version, "reason" => why.word())
    }
}
