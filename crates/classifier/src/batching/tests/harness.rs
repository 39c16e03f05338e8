//! A paused clock, and an engine whose every run a test controls.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc as thread_mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::Instant;

use crate::batching::{Admitted, BatchError, BatchOutput, Batcher, Config, Worker};
use crate::options::RequestOptions;
use kiln_image::PreprocessedImage;
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;

pub(super) const MS: Duration = Duration::from_millis(1);
/// In real time. Only a test that hangs waits so long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a test on a paused clock that only `tokio::time::advance` moves.
///
/// A paused clock jumps to the next timer when all tasks wait, and they do so while the engine's thread works. Tokio
/// does not let it jump while a blocking task runs, and the watchdog is such a task.
pub(super) fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (_done, watched) = thread_mpsc::channel::<()>();
        let watchdog = spawn_blocking(move || watched.recv_timeout(TIMEOUT));
        tokio::select! {
            outcome = test => outcome,
            _ = watchdog => panic!("the test hung"),
        }
    })
}

/// Lets the other tasks run until they wait for the engine's thread.
pub(super) async fn settle() {
    for _ in 0..16 {
        yield_now().await;
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Rows,
    OneRowTooFew,
    /// The first row is not finite.
    NotFinite,
    Failure,
    Panic,
}

/// The test's side of the engine.
pub(super) struct Gate {
    started: mpsc::UnboundedReceiver<Vec<u32>>,
    ends: thread_mpsc::Sender<End>,
    /// Whether each rebuild succeeds.
    rebuilds: thread_mpsc::Sender<bool>,
    /// Whether the engine passes its self-test.
    pub(super) is_healthy: Arc<AtomicBool>,
    /// The number of self-tests that passed.
    pub(super) self_tests: Arc<AtomicUsize>,
}

impl Gate {
    /// Waits until the engine runs a batch, and returns the ids of its images. A self-test that will fail has no
    /// images.
    pub(super) async fn next_run(&mut self) -> Vec<u32> {
        self.started.recv().await.expect("the engine is alive")
    }

    /// Ends the current run, or the next one.
    pub(super) fn finish(&self, end: End) {
        // A broken engine does not run any more.
        let _ = self.ends.send(end);
    }

    /// Ends the current rebuild, or the next one.
    pub(super) fn finish_rebuild(&self, succeeds: bool) {
        // A broken engine is not rebuilt any more.
        let _ = self.rebuilds.send(succeeds);
    }

    /// Lets every further run return its rows at once, and every rebuild fail. The channel returns the ids of each
    /// batch and ends with the engine.
    pub(super) fn open(self) -> mpsc::UnboundedReceiver<Vec<u32>> {
        self.started
    }
}

struct GatedEngine {
    started: mpsc::UnboundedSender<Vec<u32>>,
    ends: thread_mpsc::Receiver<End>,
    rebuilds: thread_mpsc::Receiver<bool>,
    is_healthy: Arc<AtomicBool>,
    self_tests: Arc<AtomicUsize>,
}

impl Engine for GatedEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        // The test may have dropped the receiver.
        let _ = self.started.send(batch.iter().map(id).collect());
        let mut rows: Vec<Logits> = batch.iter().map(|image| row(id(image))).collect();
        match self.ends.recv().unwrap_or(End::Rows) {
            End::Rows => {}
            End::OneRowTooFew => drop(rows.pop()),
            End::NotFinite => rows[0][1] = f32::NAN,
            End::Failure => return Err(EngineError::Device("out of memory".to_string())),
            End::Panic => panic!("shader on fire"),
        }
        Ok(rows)
    }

    fn self_test(&mut self) -> Result<(), EngineError> {
        if self.is_healthy.load(Ordering::SeqCst) {
            self.self_tests.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        let _ = self.started.send(Vec::new());
        let _ = self.ends.recv();
        Err(EngineError::Device("wrong reference logits".to_string()))
    }

    fn rebuild(&mut self) -> Result<(), EngineError> {
        match self.rebuilds.recv() {
            Ok(true) => {
                self.is_healthy.store(true, Ordering::SeqCst);
                Ok(())
            }
            Ok(false) | Err(_) => Err(EngineError::Device("no other device".to_string())),
        }
    }
}

/// Returns an image that encodes a number below 2^24.
pub(super) fn image(id: u32) -> PreprocessedImage {
    let [_, r, g, b] = id.to_be_bytes();
    PreprocessedImage::new(1, 1, Box::new([r, g, b]))
}

pub(super) fn id(sample: &Sample) -> u32 {
    let Sample::Image(image) = sample else { panic!("the tests send no tensors") };
    let pixels = image.pixels();
    u32::from_be_bytes([0, pixels[0], pixels[1], pixels[2]])
}

/// Returns the row of an image: exact in f32, and different for each id.
pub(super) fn row(id: u32) -> Logits {
    Box::new([id as f32, -(id as f32)])
}

pub(super) type Pending = Pin<Box<dyn Future<Output = Result<BatchOutput, BatchError>>>>;

pub(super) fn gated() -> (Box<dyn Engine>, Gate) {
    let (started, started_out) = mpsc::unbounded_channel();
    let (ends, ends_out) = thread_mpsc::channel();
    let (rebuilds, rebuilds_out) = thread_mpsc::channel();
    let is_healthy = Arc::new(AtomicBool::new(true));
    let self_tests = Arc::new(AtomicUsize::new(0));
    let engine = GatedEngine {
        started,
        ends: ends_out,
        rebuilds: rebuilds_out,
        is_healthy: Arc::clone(&is_healthy),
        self_tests: Arc::clone(&self_tests),
    };
    (Box::new(engine), Gate { started: started_out, ends, rebuilds, is_healthy, self_tests })
}

/// A batcher on a gated engine.
pub(super) struct Fixture {
    pub(super) batcher: Batcher,
    pub(super) worker: Worker,
    pub(super) gate: Gate,
    pub(super) readiness: Readiness,
    pub(super) capacity: usize,
}

pub(super) fn start(config: Config) -> Fixture {
    let (engine, gate) = gated();
    start_with(config, vec![engine], gate)
}

/// Returns a batcher on two engines, and the gate of the second engine.
pub(super) fn start_two(config: Config) -> (Fixture, Gate) {
    let ((first, gate), (second, other)) = (gated(), gated());
    (start_with(config, vec![first, second], gate), other)
}

fn start_with(config: Config, engines: Vec<Box<dyn Engine>>, gate: Gate) -> Fixture {
    let readiness = Readiness::starting();
    readiness.set_ready();
    let capacity = config.queue_capacity;
    let (batcher, worker) =
        Batcher::start(config, engines, readiness.clone(), ModelMetrics::new("model", "1")).unwrap();
    Fixture { batcher, worker, gate, readiness, capacity }
}

impl Fixture {
    /// Advances the clock by the self-test interval. The first engine then begins a self-test, and fails it when the
    /// gate ends it.
    pub(super) async fn begin_failing_self_test(&mut self, interval: Duration) {
        self.gate.is_healthy.store(false, Ordering::SeqCst);
        settle().await;
        tokio::time::advance(interval + MS).await;
        assert!(self.gate.next_run().await.is_empty(), "a self-test");
    }

    /// Submits an image, which is in the queue afterwards.
    pub(super) fn submit(&self, id: u32, deadline: Option<Instant>) -> Pending {
        let admitted = self.batcher.admit(&RequestOptions::default()).expect("the queue has a free place");
        self.submit_admitted(admitted, id, deadline)
    }

    pub(super) fn submit_admitted(&self, admitted: Admitted, id: u32, deadline: Option<Instant>) -> Pending {
        let batcher = self.batcher.clone();
        let options = RequestOptions { deadline, ..RequestOptions::default() };
        let mut pending: Pending = Box::pin(async move { batcher.submit(admitted, image(id), &options).await });
        let first = pending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(first.is_pending(), "a result before the run");
        pending
    }
}
