//! The whole server in this process, on an engine that is given to it. Tests of failures and a bench include this file.

use std::net::SocketAddr;
use std::sync::Arc;

use kiln::app::Local;
use kiln_classifier::batching::{self, Batcher, Worker};
use kiln_classifier::{Answers, Classifier};
use kiln_image::DecodePool;
use kiln_inference::Engine;
use kiln_server::auth::Secret;
use kiln_inference::model::Model;
use kiln_runtime::telemetry::metrics::ModelMetrics;
use kiln_api as api;
use kiln_server as serve;
use tokio::runtime::Runtime;

/// What may be set. The port is any that is free.
pub struct Settings {
    pub serve: serve::Config,
    pub api: api::Config,
    pub batching: batching::Config,
    pub decode_threads: usize,
    /// The engine is one that resizes pictures by itself.
    pub resizes: bool,
    /// Answers that are kept, in bytes; none at 0.
    pub cache_bytes: u64,
}

/// A running server; it ends when it is dropped. Nothing is loaded until [`InProcess::open`].
pub struct InProcess {
    pub address: SocketAddr,
    server: Local,
    loading: Option<Classifier>,
    _worker: Worker,
    _runtime: Runtime,
}

impl InProcess {
    /// A server that is still loading `model`.
    pub fn loading(model: Model, engine: Box<dyn Engine>, key: &str, settings: Settings) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let inside = runtime.enter();
        let key = Secret::parse(key).expect("a key");
        let server = runtime.block_on(Local::start(settings.serve, settings.api, &key)).expect("a server");
        let metrics = ModelMetrics::new(model.spec().name, model.version());
        let (batcher, worker) = Batcher::start(settings.batching, vec![engine], server.readiness.clone(), metrics);
        let pool = DecodePool::new(settings.decode_threads);
        let classifier = Classifier::new(model, Vec::new(), Arc::default(), pool, batcher);
        let mut classifier = if settings.resizes { classifier.resizing(1 << 20) } else { classifier };
        if settings.cache_bytes > 0 {
            classifier = classifier.keeping(Answers::new(settings.cache_bytes));
        }
        drop(inside);
        Self { address: server.address, server, loading: Some(classifier), _worker: worker, _runtime: runtime }
    }

    /// The model is loaded.
    pub fn open(&mut self) {
        let classifier = self.loading.take().expect("it opens once");
        self.server.registry.open(classifier.model().spec().name.to_string(), vec![classifier]);
        self.server.readiness.set_ready();
    }
}
