//! A server in this process whose engine does what the test says: the way to failures that no real device can be
//! asked for.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kiln::batching::{self, Batcher, Worker};
use kiln::classifier::Classifier;
use kiln::image::DecodePool;
use kiln::inference::{DeviceInfo, Engine, EngineError, Logits, Sample};
use kiln::keys::Secret;
use kiln::model::Model;
use kiln::readiness::Readiness;
use kiln::registry::Registry;
use kiln::telemetry::metrics;
use kiln::{api, serve, shutdown};
use tokio::runtime::Runtime;

use crate::common::{Answer, KEY, Server, bytes, read};

/// Longer than any step on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the engine's next batch ends.
pub enum End {
    Rows,
    Failure,
    Panic,
}

/// Waits for the test before each batch.
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

/// A running server. Nothing is loaded until [`Staged::open`].
pub struct Staged {
    pub address: SocketAddr,
    started: Mutex<mpsc::Receiver<usize>>,
    ends: mpsc::Sender<End>,
    loading: Option<(Registry, Classifier, Readiness)>,
    _worker: Worker,
    _ask: tokio::sync::mpsc::Sender<shutdown::Request>,
    _runtime: Runtime,
}

impl Staged {
    /// A server that is still loading its models.
    pub fn loading(settings: Settings) -> Self {
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let (registry, readiness) = (Registry::default(), Readiness::starting());
        let (ask, requests) = tokio::sync::mpsc::channel(1);
        let signal = shutdown::begin(shutdown::Config::default(), readiness.clone(), requests);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = serve::Config { listen, body_timeout: settings.body_timeout, ..serve::Config::default() };
        let server = runtime.block_on(serve::Server::bind(config, None)).unwrap();
        let address = server.local_addr();
        let state = api::State {
            registry: registry.clone(),
            readiness: readiness.clone(),
            metrics: recorder(),
            config: api::Config {
                max_body_bytes: 1 << 20,
                max_batch_files: 8,
                request_timeout: settings.request_timeout,
            },
        };
        runtime.spawn(server.run(api::endpoint(state, Secret::parse(KEY).unwrap()), signal));
        let (started, starts) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let config = batching::Config { queue_capacity: settings.queue_capacity, ..batching::Config::default() };
        let engine = StagedEngine { started, ends };
        let (batcher, worker) = Batcher::start(config, vec![Box::new(engine)], readiness.clone());
        let device = DeviceInfo { name: "staged".to_string(), api: "none".to_string(), driver: None };
        let model = Model::named("efficientnet-lite0").unwrap();
        let classifier = Classifier::new(model, device, Arc::default(), DecodePool::new(2), batcher);
        drop(_inside);
        Self {
            address,
            started: starts.into(),
            ends: end,
            loading: Some((registry, classifier, readiness)),
            _worker: worker,
            _ask: ask,
            _runtime: runtime,
        }
    }

    /// A server that is ready.
    pub fn ready(settings: Settings) -> Self {
        let mut server = Self::loading(settings);
        server.open();
        server
    }

    /// The model is loaded.
    pub fn open(&mut self) {
        let (registry, classifier, readiness) = self.loading.take().expect("it opens once");
        registry.open("efficientnet-lite0".to_string(), vec![classifier]);
        readiness.set_ready();
    }

    /// Waits until the engine has a batch.
    pub fn engine_works(&self) {
        self.started.lock().unwrap().recv_timeout(PATIENCE).expect("the engine gets a batch");
    }

    /// Lets the engine end the batch that it has, or the next one.
    pub fn let_it_end(&self, end: End) {
        self.ends.send(end).unwrap();
    }

    /// Classifies a photo.
    pub fn predict(&self) -> Answer {
        let request = Server::agent().post(format!("http://{}/predict/raw", self.address)).header("X-API-Key", KEY);
        read(request.send(&bytes("photos/cat_451x300.jpg")[..]))
    }

    pub fn get(&self, path: &str) -> Answer {
        read(Server::agent().get(format!("http://{}{path}", self.address)).call())
    }
}

/// There is one recorder in a process.
fn recorder() -> metrics_exporter_prometheus::PrometheusHandle {
    static RECORDER: OnceLock<metrics_exporter_prometheus::PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| metrics::install().unwrap()).clone()
}
