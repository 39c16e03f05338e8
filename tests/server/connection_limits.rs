//! Slow clients and oversized requests: each meets its limit, and other requests are served.
//!
//! `tests/performance/load.rs` has the test with ten thousand connections.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{KEY, Server, bytes, until};

/// Far longer than the limits set in these tests, far shorter than the default limits.
const TIMEOUT: Duration = Duration::from_secs(20);

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

fn head(length: &str) -> String {
    format!("POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nConnection: close\r\nX-API-Key: {KEY}\r\n{length}\r\n")
}

/// Reads until the server closes or resets the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        Err(error) => panic!("{error} after {answer:?}"),
    }
    String::from_utf8(answer).unwrap()
}

/// Sends a byte every 200 ms until the server closes. Returns its response and the elapsed time.
fn drip(stream: &mut TcpStream, bytes: &[u8]) -> (String, Duration) {
    let started = Instant::now();
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for byte in bytes {
                std::thread::sleep(Duration::from_millis(200));
                if started.elapsed() > TIMEOUT || writer.write_all(&[*byte]).is_err() {
                    break;
                }
            }
        });
        let answer = rest(stream);
        let elapsed = started.elapsed();
        // The next write of the other thread fails, and the thread ends.
        let _ = stream.shutdown(std::net::Shutdown::Both);
        (answer, elapsed)
    })
}

fn status(answer: &str) -> Option<&str> {
    answer.strip_prefix("HTTP/1.1 ")?.split(' ').next()
}

#[test]
fn slow_clients_time_out_while_others_are_served() {
    let flags = ["--device", "cpu", "--header-timeout", "1s", "--body-timeout", "1s", "--idle-timeout", "1s"];
    let server = Server::start(&flags);
    let cat = bytes("photos/cat_640x480.jpg");
    let length = format!("Content-Length: {}\r\n", cat.len());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let text = format!("GET /models HTTP/1.1\r\nX-Filler: {}", "x".repeat(1000));
            let (answer, elapsed) = drip(&mut connect(&server), text.as_bytes());
            assert_eq!(answer, "", "an incomplete request head was answered");
            assert!(elapsed < Duration::from_secs(5), "a slow request head was read for {elapsed:?}");
        });
        scope.spawn(|| {
            let mut stream = connect(&server);
            stream.write_all(b"GET /models HT").unwrap();
            assert_eq!(rest(&mut stream), "");
        });
        scope.spawn(|| {
            let mut stream = connect(&server);
            stream.write_all(head(&length).as_bytes()).unwrap();
            let (answer, elapsed) = drip(&mut stream, &cat);
            assert_eq!(status(&answer), Some("408"), "{answer}");
            assert!(answer.contains("request_timeout"), "{answer}");
            assert!(elapsed < Duration::from_secs(5), "a slow body was read for {elapsed:?}");
        });
        scope.spawn(|| {
            let mut stream = connect(&server);
            stream.write_all(head(&length).as_bytes()).unwrap();
            stream.write_all(&cat[..1000]).unwrap();
            let answer = rest(&mut stream);
            assert_eq!(status(&answer), Some("408"), "{answer}");
        });
        scope.spawn(|| {
            let mut stream = connect(&server);
            write!(stream, "GET /health/live HTTP/1.1\r\nHost: kiln\r\n\r\n").unwrap();
            let answer = rest(&mut stream);
            assert_eq!(status(&answer), Some("200"), "the idle connection was not closed cleanly");
        });
        for _ in 0..10 {
            assert_eq!(server.raw("/predict/raw", &cat).top1(), 285);
        }
    });
}

#[test]
fn missing_invalid_and_excessive_lengths_are_rejected() {
    let server = Server::start(&["--device", "cpu", "--max-body-bytes", "1MiB", "--max-header-bytes", "8KiB"]);
    let exchange = |text: String| {
        let mut stream = connect(&server);
        // The server may close before everything is written.
        let _ = stream.write_all(text.as_bytes());
        rest(&mut stream)
    };
    for (text, expected, code) in [
        (head(""), "411", "length_required"),
        (head("Content-Length: 0\r\n"), "400", "malformed_request"),
        (head("Content-Length: 1048577\r\n"), "413", "body_too_large"),
        (head("Content-Length: 99999999999999999999\r\n"), "400", ""),
        (head(&format!("X-Filler: {}\r\n", "x".repeat(9000))), "431", ""),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), "4", ""),
    ] {
        let answer = exchange(text);
        assert!(status(&answer).unwrap_or_default().starts_with(expected), "{expected}: {answer}");
        assert!(answer.contains(code), "{answer}");
    }
    // An operation without a body needs no length.
    let index =
        format!("POST /v2/repository/index HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&exchange(index)), Some("200"));
}

#[test]
fn bodies_in_flight_beyond_the_limit_return_429() {
    let server = Server::start(&["--device", "cpu", "--max-inflight-body-bytes", "1MiB"]);
    let mut held = connect(&server);
    held.write_all(head("Content-Length: 1000000\r\n").as_bytes()).unwrap();
    held.write_all(&[0; 1000]).unwrap();
    let cat = bytes("photos/cat_640x480.jpg");
    // The first body must be counted before the second request arrives.
    let held_bytes = || server.metric("kiln_inflight_bytes", &["kind=\"body\""]);
    until("the first body to be counted", TIMEOUT, || held_bytes() == 1e6, || held_bytes().to_string());
    let refused = server.raw("/predict/raw", &cat);
    assert_eq!((refused.status, refused.code().as_str()), (429, "overloaded"));
    assert!(refused.header("retry-after").is_some());
    drop(held);
    let is_answered = || server.raw("/predict/raw", &cat).status == 200;
    until("the second request to be accepted", TIMEOUT, is_answered, || held_bytes().to_string());
}
