//! Start and shutdown of the server process: refused starts, the generated key, and draining under load.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln::app::{HttpConnection, post_request};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::common::{KEY, Server, bytes, kiln, run_command, until};

/// Clients that send requests while the server stops.
const CLIENTS: usize = 32;
/// Longer than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What a client observed until its connections were refused.
#[derive(Debug, Default)]
struct Observed {
    answered: usize,
    /// Responses after which the server closed the connection.
    closed: usize,
    failed: Vec<String>,
}

/// Sends images until connecting is refused. It reuses its connection until the server closes it.
async fn client(address: SocketAddr, request: Arc<[u8]>) -> Observed {
    let mut seen = Observed::default();
    let mut open = None;
    loop {
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => match HttpConnection::open(address).await {
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
            seen.closed += 1;
        } else {
            open = Some(connection);
        }
    }
}

/// Stops a server under load. Returns what its clients observed, and the time until it exited.
fn stopped_under_load(name: &str, flags: &[&str]) -> (Vec<Observed>, Duration) {
    let server = Server::start(&[&["--device", "cpu", "--log-level", "warn,kiln::app=info"], flags].concat());
    let address: SocketAddr = server.url.trim_start_matches("http://").parse().unwrap();
    let request: Arc<[u8]> = post_request("/predict/raw", KEY, "", &bytes("photos/cat_640x480.jpg")).into();
    let runtime = Runtime::new().unwrap();
    let mut clients: JoinSet<Observed> = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn_on(client(address, Arc::clone(&request)), runtime.handle());
    }
    let answered = || server.metric("kiln_requests_total", &["operation=\"predict_raw\",status=\"200\""]);
    until("load", TIMEOUT, || answered() >= 3.0 * CLIENTS as f64, || answered().to_string());
    let started = Instant::now();
    server.signal(name);
    let seen = runtime.block_on(clients.join_all());
    assert!(server.wait().success());
    (seen, started.elapsed())
}

#[test]
fn server_without_a_key_writes_a_generated_key_to_a_file() {
    let runtime = tempfile::tempdir().unwrap();
    let mut process = kiln()
        .env_remove("KILN_API_KEY")
        .env("XDG_RUNTIME_DIR", runtime.path())
        .args(["--listen", "127.0.0.1:0", "--device", "cpu"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    let mut stderr = process.stderr.take().unwrap();
    let mut buffer = [0; 4096];
    while !log.contains("the API key for this run is in a file") {
        let read = stderr.read(&mut buffer).unwrap();
        assert!(read > 0, "the server exited early: {log}");
        log.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    let file = std::fs::read_dir(runtime.path()).unwrap().next().unwrap().unwrap();
    let key = std::fs::read_to_string(file.path()).unwrap();
    assert!(key.starts_with("kiln_") && !log.contains(key.trim()), "{log}");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn public_address_without_a_key_is_refused() {
    for command in [&["serve"][..], &["config", "check"]] {
        let open = ["--listen", "0.0.0.0:0"];
        let (status, _, stderr) = run_command(kiln().env_remove("KILN_API_KEY").args(command).args(open));
        assert!(status == 2 && stderr.contains("KILN_API_KEY=\"$(kiln keygen)\""), "{stderr}");
    }
}

#[test]
fn port_in_use_is_reported_with_its_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, _, stderr) = run_command(kiln().args(["--listen", &address]));
    assert!(status == 1 && stderr.contains(&address), "{stderr}");
}

#[test]
fn missing_device_is_a_start_error() {
    let (status, _, text) = run_command(kiln().args(["--listen", "127.0.0.1:0", "--device", "cuda:7"]));
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("--features cuda") || text.contains("does not start"), "{text}");
}

#[test]
fn sigterm_finishes_requests_in_flight_and_exits_with_zero() {
    let server = Server::start(&["--device", "cpu", "--drain-delay", "1s"]);
    let cat = bytes("photos/cat_640x480.jpg");
    // A request in flight: the server has its head and a part of its body.
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n",
        cat.len()
    )
    .unwrap();
    stream.write_all(&cat[..1000]).unwrap();
    server.terminate();
    // During the drain delay the server still serves, but is not ready.
    let is_unready = || server.get("/health/ready").status != 200;
    until("readiness to end", Duration::from_secs(60), is_unready, String::new);
    let draining = server.get("/health/ready");
    assert_eq!((draining.status, draining.json()["state"].as_str()), (503, Some("draining")));
    assert!(draining.header("retry-after").is_some());
    stream.write_all(&cat[1000..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Egyptian cat"), "{answer}");
    assert!(server.wait().success());
}

#[test]
fn sigterm_under_load_fails_no_request() {
    let (seen, took) = stopped_under_load("TERM", &["--drain-delay", "1s"]);
    for client in &seen {
        assert!(client.failed.is_empty(), "{seen:#?}");
        assert!(client.answered > 0 && client.closed > 0, "{seen:#?}");
    }
    assert!(took >= Duration::from_secs(1), "the drain delay was skipped");
}

#[test]
fn sigint_skips_the_drain_delay_and_fails_no_request() {
    let (seen, took) = stopped_under_load("INT", &["--drain-delay", "1h"]);
    assert!(seen.iter().all(|client| client.failed.is_empty()), "{seen:#?}");
    assert!(took < Duration::from_secs(60), "the drain delay was not skipped");
}

#[test]
fn second_signal_exits_at_once() {
    let server = Server::start(&["--device", "cpu", "--drain-delay", "1h", "--shutdown-grace", "1h"]);
    server.terminate();
    until("the first signal to take effect", TIMEOUT, || server.get("/health/ready").status != 200, String::new);
    let started = Instant::now();
    server.terminate();
    assert!(server.wait().success());
    assert!(started.elapsed() < Duration::from_secs(10));
}
