//! The whole server in this process, on an engine that answers at once.

use std::net::SocketAddr;
use std::sync::Arc;
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

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A thousand scores for each picture, of no time.
struct Nothing(Logits);

impl Engine for Nothing {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        Ok(vec![self.0.clone(); batch.len()])
    }
}

/// Runs until it is dropped.
pub struct Served {
    pub address: SocketAddr,
    _worker: Worker,
    _ask: tokio::sync::mpsc::Sender<shutdown::Request>,
    _runtime: Runtime,
}

/// Starts it with as many threads as `kiln serve` has by default.
pub fn start(model: Model, threads: usize) -> Served {
    let runtime = Runtime::new().expect("a runtime");
    let inside = runtime.enter();
    let (registry, readiness) = (Registry::default(), Readiness::starting());
    let (ask, requests) = tokio::sync::mpsc::channel(1);
    let signal = shutdown::begin(shutdown::Config::default(), readiness.clone(), requests);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = serve::Config { listen, ..serve::Config::default() };
    let server = runtime.block_on(serve::Server::bind(config, None)).expect("a free port");
    let state = api::State {
        registry: registry.clone(),
        readiness: readiness.clone(),
        metrics: metrics::install().expect("one recorder"),
        config: api::Config { max_body_bytes: 20 << 20, max_batch_files: 32, request_timeout: Duration::from_secs(30) },
    };
    let address = server.local_addr();
    runtime.spawn(server.run(api::endpoint(state, Secret::parse(KEY).expect("a key")), signal));
    let engine = Nothing(vec![0.0; model.spec().labels.len()].into());
    let config = batching::Config { queue_capacity: 1024, ..batching::Config::default() };
    let (batcher, worker) = Batcher::start(config, vec![Box::new(engine)], readiness.clone());
    let device = DeviceInfo { name: "none".to_string(), api: "none".to_string(), driver: None };
    let classifier = Classifier::new(model, device, Arc::default(), DecodePool::new(threads), batcher);
    registry.open(model.spec().name.to_string(), vec![classifier]);
    readiness.set_ready();
    drop(inside);
    Served { address, _worker: worker, _ask: ask, _runtime: runtime }
}
