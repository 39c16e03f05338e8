//! Tests of the server over real sockets. Timeouts are short, and every wait is for a socket.

mod http2;
mod limits;
mod shutdown;
mod timeouts;

use std::net::SocketAddr;
use std::time::Duration;

use poem::IntoEndpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{Config, Server, ServerError};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::shutdown as graceful;

/// Maximum wait. A test that waits this long has failed, even on a slow machine.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);
/// A timeout under test that is expected to expire.
const SHORT_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a test observes that something does not happen.
const OBSERVATION_TIME: Duration = Duration::from_millis(150);

/// A server that runs in its own task.
pub(super) struct TestServer {
    address: SocketAddr,
    shutdown_requests: mpsc::Sender<graceful::ShutdownRequest>,
    signal: graceful::ShutdownSignal,
    task: JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    pub(super) async fn new<E>(config: Config, endpoint: E) -> Self
    where
        E: IntoEndpoint + Send + 'static,
        E::Endpoint: 'static,
    {
        Self::with_shutdown_grace(Duration::from_secs(3600), config, endpoint).await
    }

    async fn with_shutdown_grace<E>(grace: Duration, config: Config, endpoint: E) -> Self
    where
        E: IntoEndpoint + Send + 'static,
        E::Endpoint: 'static,
    {
        Self::start(graceful::Config { drain_delay: Duration::ZERO, grace }, config, endpoint).await
    }

    /// Starts a server that continues to serve for `drain_delay` after a shutdown request.
    async fn with_drain_delay<E>(drain_delay: Duration, config: Config, endpoint: E) -> Self
    where
        E: IntoEndpoint + Send + 'static,
        E::Endpoint: 'static,
    {
        Self::start(graceful::Config { drain_delay, grace: Duration::from_secs(3600) }, config, endpoint).await
    }

    async fn start<E>(shutdown: graceful::Config, config: Config, endpoint: E) -> Self
    where
        E: IntoEndpoint + Send + 'static,
        E::Endpoint: 'static,
    {
        let (shutdown_requests, requests) = mpsc::channel(2);
        let signal = graceful::spawn_controller(shutdown, Readiness::starting(), requests);
        let server = Server::bind(config, None).await.unwrap();
        let address = server.local_addr();
        let task = tokio::spawn(server.run(endpoint, signal.clone()));
        Self { address, shutdown_requests, signal, task }
    }

    /// Waits until the shutdown has reached its first stage.
    async fn wait_until_draining(&self) {
        timeout(TEST_TIMEOUT, self.signal.reached(graceful::Stage::Draining)).await.expect("the server does not drain");
    }

    pub(super) async fn connect(&self) -> RawClient {
        RawClient(TcpStream::connect(self.address).await.unwrap())
    }

    async fn request_shutdown(&self) {
        self.shutdown_requests.send(graceful::ShutdownRequest::Terminate).await.unwrap();
    }

    /// Waits until `run` has returned `Ok`.
    async fn wait_until_stopped(self) {
        let result = timeout(TEST_TIMEOUT, self.task).await.expect("run() hangs");
        result.unwrap().unwrap();
    }
}

/// A client that sends and receives raw bytes.
pub(super) struct RawClient(TcpStream);

impl RawClient {
    async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    pub(super) async fn get(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.send(&request).await;
    }

    /// Reads until the received text ends with `end`.
    pub(super) async fn read_to(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let byte = timeout(TEST_TIMEOUT, self.0.read_u8()).await;
            let byte = byte.unwrap_or_else(|_| panic!("nothing received after {text:?}"));
            text.push(byte.unwrap_or_else(|error| panic!("{error} after {text:?}")) as char);
        }
        text
    }

    /// Reads until the server closes the connection without an error.
    async fn read_to_close(&mut self) -> String {
        let mut text = String::new();
        timeout(TEST_TIMEOUT, self.0.read_to_string(&mut text))
            .await
            .expect("the server keeps the connection")
            .unwrap();
        text
    }

    /// Reads until `bytes` is full.
    async fn fill(&mut self, bytes: &mut [u8]) {
        timeout(TEST_TIMEOUT, self.0.read_exact(bytes))
            .await
            .expect("nothing received")
            .expect("the response was cut off");
    }

    /// Checks that the server closes the connection without another byte. An unanswered request may end in a reset.
    async fn expect_drop(&mut self) {
        let mut text = String::new();
        let _end =
            timeout(TEST_TIMEOUT, self.0.read_to_string(&mut text)).await.expect("the server keeps the connection");
        assert_eq!(text, "");
    }

    /// Returns whether nothing is received and the connection stays open for `duration`.
    async fn is_silent_for(&mut self, duration: Duration) -> bool {
        timeout(duration, self.0.read_u8()).await.is_err()
    }

    /// Checks that nothing is received and the connection stays open for `duration`.
    async fn expect_silence(&mut self, duration: Duration) {
        let byte = timeout(duration, self.0.read_u8()).await;
        assert!(byte.is_err(), "expected silence, got {byte:?}");
    }
}

/// Returns settings with a free port and timeouts that no test reaches.
pub(super) fn config() -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        header_read_timeout: Duration::from_secs(3600),
        body_timeout: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(3600),
        ..Config::default()
    }
}
