//! A clock that stands still, and an engine with a gate.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc as thread_mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::Instant;

use crate::batching::{Answer, Ask, BatchError, Batcher, Config, Permit, Terms, Worker};
use kiln_image::PreparedImage;
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;

pub(super) const MS: Duration = Duration::from_millis(1);
/// In real time; only a test that would hang waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test on a paused clock that only `tokio::time::advance` moves.
///
/// A paused clock jumps to the next timer when all tasks wait, and they do while the engine's thread
/// works. Tokio does not let it jump while a blocking task runs: the watchdog is that task.
pub(super) fn on_a_still_clock<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (_done, watched) = thread_mpsc::channel::<()>();
        let watchdog = spawn_blocking(move || watched.recv_timeout(PATIENCE));
        tokio::select! {
            outcome = test => outcome,
            _ = watchdog => panic!("the test hung"),
        }
    })
}

/// Lets the other tasks do all that they can do without the engine's thread.
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
    Rubbish,
    Failure,
    Panic,
}

/// The test's side of the engine.
pub(super) struct Gate {
    started: mpsc::UnboundedReceiver<Vec<u32>>,
    ends: thread_mpsc::Sender<End>,
    /// Whether each rebuild is a success.
    rebuilds: thread_mpsc::Sender<bool>,
    /// Whether the canary is answered rightly.
    pub(super) is_sound: Arc<AtomicBool>,
}

impl Gate {
    /// Waits until the engine runs a batch and tells which pictures it got; none if it is a canary that will fail.
    pub(super) async fn next_run(&mut self) -> Vec<u32> {
        self.started.recv().await.expect("the engine is alive")
    }

    /// Ends the run that is under way, or else the next one.
    pub(super) fn finish(&self, end: End) {
        // A broken engine ends no more runs.
        let _ = self.ends.send(end);
    }

    /// Ends the rebuild that is under way, or else the next one.
    pub(super) fn rebuilt(&self, done: bool) {
        // A broken engine is not rebuilt any more.
        let _ = self.rebuilds.send(done);
    }

    /// From now on every run gives its rows at once, and no rebuild succeeds. The channel tells of them and ends with the engine.
    pub(super) fn open(self) -> mpsc::UnboundedReceiver<Vec<u32>> {
        self.started
    }
}

struct GatedEngine {
    started: mpsc::UnboundedSender<Vec<u32>>,
    ends: thread_mpsc::Receiver<End>,
    rebuilds: thread_mpsc::Receiver<bool>,
    is_sound: Arc<AtomicBool>,
}

impl Engine for GatedEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        // The test may have ended without interest in the rest.
        let _ = self.started.send(batch.iter().map(id).collect());
        let mut rows: Vec<Logits> = batch.iter().map(|image| row(id(image))).collect();
        match self.ends.recv().unwrap_or(End::Rows) {
            End::Rows => {}
            End::OneRowTooFew => drop(rows.pop()),
            End::Rubbish => rows[0][1] = f32::NAN,
            End::Failure => return Err(EngineError::Device("out of memory".to_string())),
            End::Panic => panic!("shader on fire"),
        }
        Ok(rows)
    }

    fn check(&mut self) -> Result<(), EngineError> {
        if self.is_sound.load(Ordering::SeqCst) {
            return Ok(());
        }
        let _ = self.started.send(Vec::new());
        let _ = self.ends.recv();
        Err(EngineError::Device("the canary is dead".to_string()))
    }

    fn rebuild(&mut self) -> Result<(), EngineError> {
        match self.rebuilds.recv() {
            Ok(true) => {
                self.is_sound.store(true, Ordering::SeqCst);
                Ok(())
            }
            Ok(false) | Err(_) => Err(EngineError::Device("there is no other".to_string())),
        }
    }
}

/// A picture that carries a number below 2^24.
pub(super) fn picture(id: u32) -> PreparedImage {
    let [_, r, g, b] = id.to_be_bytes();
    PreparedImage::new(1, 1, Box::new([r, g, b]))
}

pub(super) fn id(sample: &Sample) -> u32 {
    let Sample::Picture(image) = sample else { panic!("no test sends tensors") };
    let pixels = image.pixels();
    u32::from_be_bytes([0, pixels[0], pixels[1], pixels[2]])
}

/// The row that belongs to a picture: exact in f32, and different for each.
pub(super) fn row(id: u32) -> Logits {
    Box::new([id as f32, -(id as f32)])
}

pub(super) type Waiting = Pin<Box<dyn Future<Output = Result<Answer, BatchError>>>>;

fn gated() -> (Box<dyn Engine>, Gate) {
    let (started, started_out) = mpsc::unbounded_channel();
    let (ends, ends_out) = thread_mpsc::channel();
    let (rebuilds, rebuilds_out) = thread_mpsc::channel();
    let is_sound = Arc::new(AtomicBool::new(true));
    let engine = GatedEngine { started, ends: ends_out, rebuilds: rebuilds_out, is_sound: Arc::clone(&is_sound) };
    (Box::new(engine), Gate { started: started_out, ends, rebuilds, is_sound })
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

/// A batcher on two engines, and the second one's gate.
pub(super) fn start_two(config: Config) -> (Fixture, Gate) {
    let ((first, gate), (second, other)) = (gated(), gated());
    (start_with(config, vec![first, second], gate), other)
}

fn start_with(config: Config, engines: Vec<Box<dyn Engine>>, gate: Gate) -> Fixture {
    let readiness = Readiness::starting();
    readiness.set_ready();
    let capacity = config.queue_capacity;
    let (batcher, worker) = Batcher::start(config, engines, readiness.clone(), ModelMetrics::new("model", "1"));
    Fixture { batcher, worker, gate, readiness, capacity }
}

impl Fixture {
    /// Has the first engine, idle for `interval`, begin a check that it will fail once the gate ends it.
    pub(super) async fn begin_bad_check(&mut self, interval: Duration) {
        self.gate.is_sound.store(false, Ordering::SeqCst);
        settle().await;
        tokio::time::advance(interval + MS).await;
        assert!(self.gate.next_run().await.is_empty(), "a canary");
    }

    /// Submits a picture; it is in the queue when this returns.
    pub(super) fn submit(&self, id: u32, deadline: Option<Instant>) -> Waiting {
        let permit = self.batcher.admit(&Ask::default()).expect("there is room");
        self.submit_with(permit, id, deadline)
    }

    pub(super) fn submit_with(&self, permit: Permit, id: u32, deadline: Option<Instant>) -> Waiting {
        let batcher = self.batcher.clone();
        let mut waiting: Waiting =
            Box::pin(async move { batcher.submit(permit, picture(id), Terms { deadline, ..Terms::default() }).await });
        let first = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(first.is_pending(), "answered before it ran");
        waiting
    }
}
