//! The accept loop over real sockets. Time-outs are short, and every wait is on a socket.

mod closing;
mod http2;
mod limits;
mod timeouts;

use std::net::SocketAddr;
use std::time::Duration;

use poem::IntoEndpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Config, ServeError, Server};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::shutdown;

/// Long enough for a slow machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// A time-out under test that is meant to go off.
const SHORT: Duration = Duration::from_millis(200);
/// How long a test watches that something does not happen.
const A_MOMENT: Duration = Duration::from_millis(150);

/// A server in a task of its own.
struct Running {
    address: SocketAddr,
    ask: mpsc::Sender<shutdown::Request>,
    signal: shutdown::Signal,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    async fn new<E>(config: Config, endpoint: E) -> Self
    where
        E: IntoEndpoint + Send + 'static,
        E::Endpoint: 'static,
    {
        Self::with_grace(Duration::from_secs(3600), config, endpoint).await
    }

    async fn with_grace<E>(grace: Duration, config: Config, endpoint: E) -> Self
    where
        E: IntoEndpoint + Send + 'static,
        E::Endpoint: 'static,
    {
        Self::start(shutdown::Config { drain_delay: Duration::ZERO, grace }, config, endpoint).await
    }

    /// One that goes on serving for so long after it was asked to stop.
    async fn draining<E>(drain_delay: Duration, config: Config, endpoint: E) -> Self
    where
        E: IntoEndpoint + Send + 'static,
        E::Endpoint: 'static,
    {
        Self::start(shutdown::Config { drain_delay, grace: Duration::from_secs(3600) }, config, endpoint).await
    }

    async fn start<E>(shutdown: shutdown::Config, config: Config, endpoint: E) -> Self
    where
        E: IntoEndpoint + Send + 'static,
        E::Endpoint: 'static,
    {
        let (ask, requests) = mpsc::channel(2);
        let signal = shutdown::begin(shutdown, Readiness::starting(), requests);
        let server = Server::bind(config, None).await.unwrap();
        let address = server.local_addr();
        let task = tokio::spawn(server.run(endpoint, signal.clone()));
        Self { address, ask, signal, task }
    }

    /// Waits until it has heard that it is to stop.
    async fn drains(&self) {
        timeout(PATIENCE, self.signal.reached(shutdown::Stage::Draining)).await.expect("the server does not drain");
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    async fn ask_to_stop(&self) {
        self.ask.send(shutdown::Request::Terminate).await.unwrap();
    }

    /// Waits until `run` has returned, and with `Ok`.
    async fn stopped(self) {
        let result = timeout(PATIENCE, self.task).await.expect("run() hangs");
        result.unwrap().unwrap();
    }
}

/// A client that speaks in bytes.
struct Client(TcpStream);

impl Client {
    async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    async fn get(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.send(&request).await;
    }

    /// Reads until what came in ends with `end`.
    async fn read_to(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let byte = timeout(PATIENCE, self.0.read_u8()).await;
            let byte = byte.unwrap_or_else(|_| panic!("no more came after {text:?}"));
            text.push(byte.unwrap_or_else(|error| panic!("{error} after {text:?}")) as char);
        }
        text
    }

    /// Reads all that comes until the server closes the connection in good order.
    async fn read_to_close(&mut self) -> String {
        let mut text = String::new();
        timeout(PATIENCE, self.0.read_to_string(&mut text)).await.expect("the server keeps the connection").unwrap();
        text
    }

    /// Fills `bytes` with what comes.
    async fn read_all_of(&mut self, bytes: &mut [u8]) {
        timeout(PATIENCE, self.0.read_exact(bytes)).await.expect("no more came").expect("the answer was cut off");
    }

    /// The server closes without another byte; an unanswered request may end in a reset.
    async fn is_dropped(&mut self) {
        let mut text = String::new();
        let _end = timeout(PATIENCE, self.0.read_to_string(&mut text)).await.expect("the server keeps the connection");
        assert_eq!(text, "");
    }

    /// Whether nothing comes and nothing closes for a moment.
    async fn says_nothing_for(&mut self, moment: Duration) -> bool {
        timeout(moment, self.0.read_u8()).await.is_err()
    }

    /// Nothing comes and nothing closes for a moment.
    async fn stays_silent_for(&mut self, moment: Duration) {
        let byte = timeout(moment, self.0.read_u8()).await;
        assert!(byte.is_err(), "expected silence, got {byte:?}");
    }
}

/// Any free port, and time-outs that no test waits for.
fn config() -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        header_read_timeout: Duration::from_secs(3600),
        body_timeout: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(3600),
        ..Config::default()
    }
}
