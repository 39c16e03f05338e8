//! A server in this process, at a free port that only this machine reaches, with one key: for the bench, and for tests.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use kiln_api::MetricsAccess;
use kiln_server::auth::{Authenticator, Config, ApiKey};
use kiln_runtime::readiness::Readiness;
use kiln_classifier::registry::Registry;
use kiln_runtime::shutdown::{self, ShutdownRequest};
use kiln_runtime::telemetry::metrics::{self, Exporter};
use kiln_api as api;
use kiln_server as serve;

/// A running server. It ends when it is dropped; what is under way is answered then if the runtime goes on.
#[derive(Debug)]
pub struct Local {
    /// Where it listens.
    pub address: SocketAddr,
    /// Empty at first: it answers that it is starting.
    pub registry: Registry,
    /// Starting at first.
    pub readiness: Readiness,
    ask: mpsc::Sender<ShutdownRequest>,
}

impl Local {
    /// Starts one. The address in `serve` does not matter, nor does anybody but `key` get in.
    ///
    /// # Errors
    ///
    /// There is no free port, or this process has another recorder of metrics.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start(serve: serve::Config, api: api::Config, key: &ApiKey) -> Result<Self, String> {
        let metrics = match api.metrics {
            MetricsAccess::Off => None,
            _ => Some(recorder()?),
        };
        let (registry, readiness) = (Registry::default(), Readiness::starting());
        let (ask, requests) = mpsc::channel(1);
        let signal = shutdown::spawn_controller(shutdown::Config::default(), readiness.clone(), requests);
        let serve = serve::Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..serve };
        let server = serve::Server::bind(serve, None).await.map_err(|error| error.to_string())?;
        let address = server.local_addr();
        let keys = Config { api_key: None, key_file: None, tokens: None, max_auth_failures: NonZeroU32::MAX };
        let authority = Authenticator::load(&keys, Some(key)).map_err(|error| error.to_string())?;
        let state = api::State {
            registry: registry.clone(),
            readiness: readiness.clone(),
            metrics,
            authenticator: Arc::new(authority),
            feedback: None,
            config: api,
        };
        tokio::spawn(server.run(api::endpoint(state), signal));
        Ok(Self { address, registry, readiness, ask })
    }

    /// Asks it to answer what is under way and end.
    pub async fn stop(&self) {
        // It may have ended by itself.
        let _ = self.ask.send(ShutdownRequest::Interrupt).await;
    }
}

/// There is one recorder in a process.
fn recorder() -> Result<Exporter, String> {
    static RECORDER: OnceLock<Result<Exporter, String>> = OnceLock::new();
    RECORDER.get_or_init(|| metrics::install().map_err(|error| error.to_string())).clone()
}
