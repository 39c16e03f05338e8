//! A server in this process whose engine does what the test says: the way to failures that no real device can be
//! asked for.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_inference::model::Model;
use kiln_api as api;
use kiln_classifier::batching;
use kiln_server as serve;

use crate::common::{Answer, KEY, bytes, get, metrics, post};
use crate::in_process::{self, InProcess};

/// Longer than any step on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the engine's next batch ends, or its replacement.
pub enum End {
    Rows,
    Failure,
    Panic,
}

/// Waits for the test before each batch, and while it is being replaced.
struct StagedEngine {
    started: mpsc::Sender<usize>,
    ends: mpsc::Receiver<End>,
}

impl Engine for StagedEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        // A test that is over has let go of both channels.
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

/// What a test may set.
pub struct Settings {
    pub queue_capacity: usize,
    pub request_timeout: Duration,
    pub body_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue_capacity: 8, request_timeout: PATIENCE, body_timeout: PATIENCE }
    }
}

/// Metrics are the process's, so there is one server at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A running server. Nothing is loaded until [`Staged::open`].
pub struct Staged {
    server: InProcess,
    started: Mutex<mpsc::Receiver<usize>>,
    ends: mpsc::Sender<End>,
    // Let go of last.
    _alone: MutexGuard<'static, ()>,
}

impl Staged {
    /// A server that is still loading its models.
    pub fn loading(settings: Settings) -> Self {
        // A test that failed has left nothing behind.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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
                // The test is what the engine waits for, on a busy machine for long.
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

    /// A server that is ready.
    pub fn ready(settings: Settings) -> Self {
        let mut server = Self::loading(settings);
        server.open();
        server
    }

    /// The model is loaded.
    pub fn open(&mut self) {
        self.server.open();
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Waits until the engine has a batch.
    pub fn engine_works(&self) {
        self.started.lock().unwrap().recv_timeout(PATIENCE).expect("the engine gets a batch");
    }

    /// How many pictures the engine was given since this was last asked, but for those of [`Staged::engine_works`].
    pub fn pictures_run(&self) -> usize {
        self.started.lock().unwrap().try_iter().sum()
    }

    /// Lets the engine end the batch that it has, or the next one, or be replaced.
    pub fn let_it_end(&self, end: End) {
        self.ends.send(end).unwrap();
    }

    /// Classifies a photo.
    pub fn predict(&self) -> Answer {
        self.predict_within("60000")
    }

    /// The same for somebody who has so many milliseconds.
    pub fn predict_within(&self, patience: &str) -> Answer {
        let headers = [("X-API-Key", KEY), ("X-Request-Timeout-Ms", patience)];
        post(&format!("http://{}/predict/raw", self.address()), &headers, &bytes("photos/cat_451x300.jpg"))
    }

    /// Has a picture that is the whole body classified by the Open Inference Protocol.
    pub fn infer(&self, headers: &[(&str, &str)], picture: &[u8]) -> Answer {
        let headers = [&[("X-API-Key", KEY), ("Inference-Header-Content-Length", "0")], headers].concat();
        post(&format!("http://{}/v2/models/efficientnet-lite0/infer", self.address()), &headers, picture)
    }

    pub fn get(&self, path: &str) -> Answer {
        get(&format!("http://{}{path}", self.address()), &[])
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        metrics::sum(&self.get("/metrics").text(), name, &[])
    }
}
