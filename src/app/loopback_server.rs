//! A server in the current process, on a free port of the loopback address, with one API key: for `kiln bench` and for
//! tests.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use kiln_api::MetricsAccess;
use kiln_classifier::registry::Registry;
use kiln_runtime::readiness::Readiness;
use kiln_runtime::shutdown::{self, ShutdownRequest};
use kiln_runtime::telemetry::metrics::{self, Exporter};
use kiln_server::Server;
use kiln_server::auth::{self, ApiKey, Authenticator};
use tokio::sync::mpsc;

/// A running server. It shuts down when it is dropped, and completes its requests if the runtime continues to run.
#[derive(Debug)]
pub struct LoopbackServer {
    /// Address on which the server listens.
    pub address: SocketAddr,
    /// The models; empty at start. Until the caller adds one, the server reports that it is starting.
    pub registry: Registry,
    /// The readiness; `starting` at start.
    pub readiness: Readiness,
    shutdown: mpsc::Sender<ShutdownRequest>,
}

impl LoopbackServer {
    /// Starts a server that accepts only `key`. The address in `server` is ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no free port, or if the process already has another metrics recorder.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub async fn start(server: kiln_server::Config, api: kiln_api::Config, key: &ApiKey) -> Result<Self, String> {
        let metrics = match api.metrics {
            MetricsAccess::Off => None,
            _ => Some(recorder()?),
        };
        let (registry, readiness) = (Registry::default(), Readiness::starting());
        let (shutdown, requests) = mpsc::channel(1);
        let signal = shutdown::spawn_controller(shutdown::Config::default(), readiness.clone(), requests);
        let server = kiln_server::Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..server };
        let server = Server::bind(server, None).await.map_err(|error| error.to_string())?;
        let address = server.local_addr();
        let auth = auth::Config { api_key: None, key_file: None, tokens: None, max_auth_failures: NonZeroU32::MAX };
        let authenticator = Authenticator::load(&auth, Some(key)).map_err(|error| error.to_string())?;
        let state = kiln_api::State {
            registry: registry.clone(),
            readiness: readiness.clone(),
            metrics,
            authenticator: Arc::new(authenticator),
            feedback: None,
            repository: None,
            config: api,
        };
        tokio::spawn(server.run(kiln_api::endpoint(state), signal));
        Ok(Self { address, registry, readiness, shutdown })
    }

    /// Requests a shutdown: the server completes its requests and stops.
    pub async fn stop(&self) {
        // The receiver is gone if the server has stopped already.
        let _ = self.shutdown.send(ShutdownRequest::Interrupt).await;
    }
}

/// Returns the metrics recorder. A process can install only one.
fn recorder() -> Result<Exporter, String> {
    static RECORDER: OnceLock<Result<Exporter, String>> = OnceLock::new();
    RECORDER.get_or_init(|| metrics::install().map_err(|error| error.to_string())).clone()
}
