//! The whole server in the current process, with a given engine. `tests/failures`, `tests/server` and `benches/http.rs` include this file.

use std::net::SocketAddr;
use std::sync::Arc;

use kiln::app::LoopbackServer;
use kiln_api as api;
use kiln_classifier::batching::{self, Batcher, Worker};
use kiln_classifier::{Classifier, ResponseCache};
use kiln_image::DecodePool;
use kiln_inference::Engine;
use kiln_inference::model::Model;
use kiln_runtime::shutdown::ShutdownSignal;
use kiln_runtime::supervisor::Supervisor;
use kiln_runtime::telemetry::metrics::ModelMetrics;
use kiln_server as serve;
use kiln_server::auth::ApiKey;
use tokio::runtime::Runtime;

/// Settings of the server. It listens on a free port.
pub struct Settings {
    pub serve: serve::Config,
    pub api: api::Config,
    pub batching: batching::Config,
    pub decode_threads: usize,
    /// Whether the engine resizes images itself.
    pub resizes: bool,
    /// Size of the response cache in bytes; 0 disables it.
    pub cache_bytes: u64,
}

/// A running server; it stops when it is dropped. The model is not ready until [`InProcess::open`].
pub struct InProcess {
    pub address: SocketAddr,
    server: LoopbackServer,
    loading: Option<Classifier>,
    _worker: Worker,
    runtime: Runtime,
}

impl InProcess {
    /// Starts a server that is still loading `model`.
    pub fn loading(model: Model, engine: Box<dyn Engine>, key: &str, settings: Settings) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let entered = runtime.enter();
        let key = ApiKey::parse(key).expect("a key");
        let server = runtime.block_on(LoopbackServer::start(settings.serve, settings.api, &key)).expect("a server");
        let metrics = ModelMetrics::new(model.name(), model.version());
        let started = Batcher::start(settings.batching, vec![engine], server.readiness.clone(), metrics);
        let (batcher, worker) = started.expect("a thread for the engine");
        let pool = DecodePool::new(settings.decode_threads).expect("threads for decoding");
        let classifier = Classifier::new(model, Vec::new(), Arc::default(), pool, batcher);
        let mut classifier = if settings.resizes { classifier.with_engine_resize(1 << 20) } else { classifier };
        if settings.cache_bytes > 0 {
            classifier = classifier.with_cache(ResponseCache::new(settings.cache_bytes));
        }
        drop(entered);
        Self { address: server.address, server, loading: Some(classifier), _worker: worker, runtime }
    }

    /// Completes the load and makes the server ready.
    pub fn open(&mut self) {
        let classifier = self.loading.take().expect("the model is opened once");
        self.server.registry.replace_with_stable(classifier.model().name().to_string(), vec![classifier]);
        self.server.readiness.set_ready();
    }

    /// Runs `spawn` with a supervisor of background tasks, whose failures concern this server. They end when it is dropped.
    #[allow(dead_code, reason = "a part of the test binaries uses it")]
    pub fn supervise(&self, spawn: impl FnOnce(&mut Supervisor)) -> Supervisor {
        let _entered = self.runtime.enter();
        let mut supervisor = Supervisor::new(self.server.readiness.clone(), ShutdownSignal::never());
        spawn(&mut supervisor);
        supervisor
    }
}
