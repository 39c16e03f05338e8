//! The way out under full load: whoever was told nothing else before is answered.
#![forbid(unsafe_code)]

mod common;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{KEY, Server, bytes, until};
use kiln::app::{Connection, post};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const CLIENTS: usize = 32;
/// Longer than anything here on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a client saw until nobody listened any more.
#[derive(Debug, Default)]
struct Seen {
    answered: usize,
    /// Answers that were the last of their connection.
    last: usize,
    failed: Vec<String>,
}

/// Sends pictures, over one connection as long as that is welcome, until connecting is refused.
async fn client(address: SocketAddr, request: Arc<[u8]>) -> Seen {
    let mut seen = Seen::default();
    let mut kept = None;
    loop {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match Connection::open(address).await {
                Ok(connection) => connection,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return seen,
                Err(error) => {
                    seen.failed.push(format!("connecting: {error}"));
                    return seen;
                }
            },
        };
        let closes = match connection.exchange(&request).await {
            Ok(answer) if answer.status == 200 => {
                seen.answered += 1;
                String::from_utf8_lossy(answer.head).to_ascii_lowercase().contains("\r\nconnection: close\r\n")
            }
            Ok(answer) => {
                seen.failed.push(format!("{}: {}", answer.status, String::from_utf8_lossy(answer.body)));
                true
            }
            Err(error) => {
                seen.failed.push(error.to_string());
                true
            }
        };
        if closes {
            seen.last += 1;
        } else {
            kept = Some(connection);
        }
    }
}

/// Stops a server under load and gives what its clients saw.
fn stopped_under_load(name: &str, flags: &[&str]) -> (Vec<Seen>, Duration) {
    let server = Server::start(&[&["--device", "cpu", "--log-level", "warn,kiln::app=info"], flags].concat());
    let address: SocketAddr = server.url.trim_start_matches("http://").parse().unwrap();
    let request: Arc<[u8]> = post("/predict/raw", KEY, "", &bytes("photos/cat_640x480.jpg")).into();
    let runtime = Runtime::new().unwrap();
    let mut clients: JoinSet<Seen> = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn_on(client(address, Arc::clone(&request)), runtime.handle());
    }
    let answered = || server.metric("kiln_requests_total", &["operation=\"predict_raw\",status=\"200\""]);
    until("load", PATIENCE, || answered() >= 3.0 * CLIENTS as f64, || answered().to_string());
    let begun = Instant::now();
    server.signal(name);
    let seen = runtime.block_on(clients.join_all());
    assert!(server.wait().success());
    (seen, begun.elapsed())
}

#[test]
fn sigterm_under_load_fails_no_request() {
    let (seen, took) = stopped_under_load("TERM", &["--drain-delay", "1s"]);
    for client in &seen {
        assert!(client.failed.is_empty(), "{seen:#?}");
        assert!(client.answered > 0 && client.last > 0, "{seen:#?}");
    }
    assert!(took >= Duration::from_secs(1), "the delay was not waited for");
}

#[test]
fn sigint_skips_the_delay_and_fails_no_request_either() {
    let (seen, took) = stopped_under_load("INT", &["--drain-delay", "1h"]);
    assert!(seen.iter().all(|client| client.failed.is_empty()), "{seen:#?}");
    assert!(took < Duration::from_secs(60), "the delay was waited for");
}

#[test]
fn a_second_signal_ends_it_now() {
    let server = Server::start(&["--device", "cpu", "--drain-delay", "1h", "--shutdown-grace", "1h"]);
    server.terminate();
    until("the first signal to be heard", PATIENCE, || server.get("/health/ready").status != 200, String::new);
    let begun = Instant::now();
    server.terminate();
    assert!(server.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(10));
}
