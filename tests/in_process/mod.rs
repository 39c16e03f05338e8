//! The whole server in this process, on an engine that is given to it. Tests of failures and a bench include this file.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use kiln::batching::{self, Batcher, Worker};
use kiln::classifier::Classifier;
use kiln::image::DecodePool;
use kiln::inference::Engine;
use kiln::keys::Secret;
use kiln::model::Model;
use kiln::readiness::Readiness;
use kiln::registry::Registry;
use kiln::telemetry::metrics;
use kiln::{api, serve, shutdown};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Runtime;

/// What may be set. The port is any that is free.
pub struct Settings {
    pub serve: serve::Config,
    pub api: api::Config,
    pub batching: batching::Config,
    pub decode_threads: usize,
    /// The engine is one that resizes pictures by itself.
    pub resizes: bool,
}

/// A running server; it ends when it is dropped. Nothing is loaded until [`InProcess::open`].
pub struct InProcess {
    pub address: SocketAddr,
    loading: Option<(Registry, Classifier, Readiness)>,
    _worker: Worker,
    _ask: tokio::sync::mpsc::Sender<shutdown::Request>,
    _runtime: Runtime,
}

impl InProcess {
    /// A server that is still loading `model`.
    pub fn loading(model: Model, engine: Box<dyn Engine>, key: &str, settings: Settings) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let inside = runtime.enter();
        let (registry, readiness) = (Registry::default(), Readiness::starting());
        let (ask, requests) = tokio::sync::mpsc::channel(1);
        let signal = shutdown::begin(shutdown::Config::default(), readiness.clone(), requests);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = serve::Config { listen, ..settings.serve };
        let server = runtime.block_on(serve::Server::bind(config, None)).expect("a free port");
        let address = server.local_addr();
        let state = api::State {
            registry: registry.clone(),
            readiness: readiness.clone(),
            metrics: recorder(),
            config: settings.api,
        };
        runtime.spawn(server.run(api::endpoint(state, Secret::parse(key).expect("a key")), signal));
        let (batcher, worker) = Batcher::start(settings.batching, vec![engine], readiness.clone());
        let pool = DecodePool::new(settings.decode_threads);
        let classifier = Classifier::new(model, Vec::new(), Arc::default(), pool, batcher);
        let classifier = if settings.resizes { classifier.resizing(1 << 20) } else { classifier };
        let loading = Some((registry, classifier, readiness));
        drop(inside);
        Self { address, loading, _worker: worker, _ask: ask, _runtime: runtime }
    }

    /// The model is loaded.
    pub fn open(&mut self) {
        let (registry, classifier, readiness) = self.loading.take().expect("it opens once");
        registry.open(classifier.model().spec().name.to_string(), vec![classifier]);
        readiness.set_ready();
    }
}

/// There is one recorder in a process.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| metrics::install().expect("one recorder")).clone()
}
