//! A server in the test process with an engine that the test controls, to cause failures that a real device cannot be made to
//! show.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, mpsc};
use std::time::Duration;

use kiln_api as api;
use kiln_classifier::batching;
use kiln_inference::model::Model;
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_runtime::supervisor::Supervisor;
use kiln_server as serve;

use crate::common::{Answer, KEY, alone, bytes, get, post, sum_metric};
use crate::in_process::{self, InProcess};

/// Longer than any step on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The outcome of the next batch, or of the next replacement of the engine.
pub enum End {
    Rows,
    Failure,
    Panic,
}

/// Waits for the test in each batch and in each replacement.
struct StagedEngine {
    started: mpsc::Sender<usize>,
    ends: mpsc::Receiver<End>,
}

impl Engine for StagedEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        // A finished test has dropped both channels.
        let _ = self.started.send(batch.len());
        match self.ends.recv() {
            Ok(End::Failure) => Err(EngineError::Device("fault 0xdead on queue 3".to_string())),
            Ok(End::Panic) => panic!("fault 0xdead on queue 3"),
            Ok(End::Rows) | Err(_) => Ok(batch.iter().map(|_| Logits::from(vec![0.0; 1000])).collect()),
        }
    }

    fn rebuild(&mut self) -> Result<(), EngineError> {
        match self.ends.recv() {
            Ok(End::Rows) | Err(_) => Ok(()),
            Ok(_) => Err(EngineError::Device("fault 0xdead is still there".to_string())),
        }
    }
}

/// Settings that differ between tests.
pub struct Settings {
    pub queue_capacity: usize,
    pub request_timeout: Duration,
    pub body_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue_capacity: 8, request_timeout: TIMEOUT, body_timeout: TIMEOUT }
    }
}

/// A running server. Nothing is loaded until [`Staged::open`].
pub struct Staged {
    server: InProcess,
    started: Mutex<mpsc::Receiver<usize>>,
    ends: mpsc::Sender<End>,
    // Dropped last.
    _alone: MutexGuard<'static, ()>,
}

impl Staged {
    /// Starts a server that is still loading its model.
    pub fn loading(settings: Settings) -> Self {
        let alone = alone();
        let (started, starts) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let model = Model::named("efficientnet-lite0").unwrap();
        let settings = in_process::Settings {
            serve: serve::Config { body_timeout: settings.body_timeout, ..serve::Config::default() },
            api: api::Config {
                max_body_bytes: 1 << 20,
                max_batch_files: 8,
                request_timeout: settings.request_timeout,
                ..api::Config::default()
            },
            batching: batching::Config {
                queue_capacity: settings.queue_capacity,
                // The engine waits for the test, on a busy machine for long.
                device_timeout: Duration::ZERO,
                ..batching::Config::default()
            },
            decode_threads: 2,
            resizes: false,
            cache_bytes: 0,
        };
        let server = InProcess::loading(model, Box::new(StagedEngine { started, ends }), KEY, settings);
        Self { server, started: starts.into(), ends: end, _alone: alone }
    }

    /// Starts a server that is ready.
    pub fn ready(settings: Settings) -> Self {
        let mut server = Self::loading(settings);
        server.open();
        server
    }

    /// Completes the load.
    pub fn open(&mut self) {
        self.server.open();
    }

    /// Starts background tasks of the server.
    pub fn supervise(&self, spawn: impl FnOnce(&mut Supervisor)) -> Supervisor {
        self.server.supervise(spawn)
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Waits until the engine has received a batch.
    pub fn engine_works(&self) {
        self.started.lock().unwrap().recv_timeout(TIMEOUT).expect("the engine gets a batch");
    }

    /// Returns the number of images that the engine has received since the last call, without those of [`Staged::engine_works`].
    pub fn images_run(&self) -> usize {
        self.started.lock().unwrap().try_iter().sum()
    }

    /// Ends the current or next batch, or the current or next replacement of the engine.
    pub fn let_it_end(&self, end: End) {
        self.ends.send(end).unwrap();
    }

    /// Runs batches from which the batcher learns the batch time. Each of them takes at least 20 ms.
    pub fn learn_batch_time(&self) {
        for _ in 0..10 {
            std::thread::scope(|scope| {
                let request = scope.spawn(|| self.predict());
                self.engine_works();
                std::thread::sleep(Duration::from_millis(20));
                self.let_it_end(End::Rows);
                assert_eq!(request.join().unwrap().status, 200);
            });
        }
    }

    /// Classifies a photo with a long timeout.
    pub fn predict(&self) -> Answer {
        self.predict_within("60000")
    }

    /// Classifies a photo with a request timeout in milliseconds.
    pub fn predict_within(&self, timeout: &str) -> Answer {
        let headers = [("X-API-Key", KEY), ("X-Request-Timeout-Ms", timeout)];
        post(&format!("http://{}/predict/raw", self.address()), &headers, &bytes("photos/cat_451x300.jpg"))
    }

    /// Classifies an image, sent as the whole body, with the Open Inference Protocol.
    pub fn infer(&self, headers: &[(&str, &str)], image: &[u8]) -> Answer {
        let headers = [&[("X-API-Key", KEY), ("Inference-Header-Content-Length", "0")], headers].concat();
        post(&format!("http://{}/v2/models/efficientnet-lite0/infer", self.address()), &headers, image)
    }

    pub fn get(&self, path: &str) -> Answer {
        get(&format!("http://{}{path}", self.address()), &[])
    }

    /// Returns the sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        sum_metric(&self.get("/metrics").text(), name, &[])
    }
}
