//! Errors of a full, late, failing or loading server over a real socket, with an engine that fails on demand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{self, Answer, KEY};
use crate::staged_engine::{End, Settings, Staged};
use kiln_runtime::telemetry::logging::{self, LogFormat};

/// Asserts the status, the code, and that exactly 429, 503 and 504 have a `Retry-After` header.
fn check(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
    let seconds = answer.header("retry-after").map(|text| text.parse::<u64>().expect("whole seconds"));
    assert_eq!(seconds.is_some(), matches!(status, 429 | 503 | 504), "{:?}", answer.headers);
    assert!(seconds.is_none_or(|seconds| seconds >= 1), "{seconds:?}");
}

#[test]
fn full_queue_returns_429_with_retry_after() {
    let server = Staged::ready(Settings { queue_capacity: 1, ..Settings::default() });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.predict());
        server.engine_works();
        check(&server.predict(), 429, "overloaded");
        server.let_it_end(End::Rows);
        assert_eq!(first.join().unwrap().status, 200);
    });
    server.let_it_end(End::Rows);
    assert_eq!(server.predict().status, 200);
}

#[test]
fn image_that_waits_beyond_its_deadline_is_not_run() {
    let server = Staged::ready(Settings { request_timeout: Duration::from_millis(500), ..Settings::default() });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.predict());
        server.engine_works();
        check(&server.predict(), 504, "deadline_passed");
        server.let_it_end(End::Rows);
        assert_eq!(
            first.join().unwrap().status,
            200,
            "a batch that started in time is answered even after the deadline"
        );
    });
}

#[test]
fn unmeetable_request_timeout_returns_429_at_once() {
    let server = Staged::ready(Settings::default());
    for timeout in ["0", "-1", "soon"] {
        check(&server.predict_within(timeout), 400, "malformed_request");
    }
    server.learn_batch_time();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.predict());
        server.engine_works();
        let started = std::time::Instant::now();
        check(&server.predict_within("15"), 429, "deadline_unmeetable");
        assert!(started.elapsed() < Duration::from_secs(10), "the request waited for the engine");
        check(&server.predict_within("500"), 504, "deadline_passed");
        server.let_it_end(End::Rows);
        assert_eq!(first.join().unwrap().status, 200);
    });
}

#[test]
fn device_failure_is_logged_but_not_sent_to_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let config = logging::Config {
        level: "warn".parse().unwrap(),
        format: LogFormat::Json,
        file: Some(directory.path().join("app.log")),
        max_files: 1,
        file_max_bytes: 1 << 30,
    };
    let log_guard = logging::init(&config).unwrap();
    let server = Staged::ready(Settings::default());
    assert_eq!(server.get("/health/ready").status, 200);
    server.let_it_end(End::Failure);
    let failed = server.predict();
    check(&failed, 500, "device_failed");
    assert!(!failed.text().contains("0xdead"), "{}", failed.text());
    let ready = server.get("/health/ready");
    assert_eq!((ready.status, ready.json()["state"].as_str()), (503, Some("recovering")));
    drop(log_guard);
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap();
    let log = std::fs::read_to_string(file.path()).unwrap();
    assert!(log.contains("0xdead"), "{log}");
    let id = failed.header("x-request-id").unwrap();
    assert!(log.lines().any(|line| line.contains(id) && line.contains("device_failed")), "{log}");
}

#[test]
fn requests_return_503_while_a_device_is_replaced() {
    let server = Staged::ready(Settings::default());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| server.predict());
        server.engine_works();
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| server.predict())).collect();
        // All three are admitted before the engine fails.
        until(|| server.metric("kiln_queue_depth") == 3.0);
        server.let_it_end(End::Panic);
        check(&running.join().unwrap(), 500, "device_failed");
        for waiting in waiting {
            check(&waiting.join().unwrap(), 503, "unavailable");
        }
    });
    check(&server.predict(), 503, "unavailable");
    let ready = server.get("/health/ready");
    assert_eq!((ready.status, ready.json()["state"].as_str()), (503, Some("recovering")));
    server.let_it_end(End::Rows);
    until(|| server.get("/health/ready").status == 200);
    server.let_it_end(End::Rows);
    assert_eq!(server.predict().status, 200);
}

#[test]
fn disconnected_clients_are_removed_from_the_queue() {
    const CLIENTS: usize = 1000;
    let server = Staged::ready(Settings { queue_capacity: CLIENTS + 1, ..Settings::default() });
    let photo = common::bytes("photos/cat_451x300.jpg");
    let head = format!(
        "POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n",
        photo.len()
    );
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.predict());
        server.engine_works();
        let before = server.metric("kiln_cancelled_total");
        let clients: Vec<TcpStream> = (0..CLIENTS)
            .map(|_| {
                let mut stream = TcpStream::connect(server.address()).unwrap();
                stream.write_all(&[head.as_bytes(), &photo].concat()).unwrap();
                stream
            })
            .collect();
        until(|| server.metric("kiln_queue_depth") >= CLIENTS as f64);
        drop(clients);
        // Their places are free although the engine still runs.
        until(|| server.metric("kiln_cancelled_total") - before >= CLIENTS as f64);
        let last = scope.spawn(|| server.predict());
        until(|| server.metric("kiln_queue_depth") == 1.0);
        server.let_it_end(End::Rows);
        assert_eq!(first.join().unwrap().status, 200);
        server.let_it_end(End::Rows);
        assert_eq!(last.join().unwrap().status, 200);
    });
    let run = server.images_run();
    assert_eq!(run, 1, "only the image of the last client is run after the first batch");
}

#[test]
fn decompressed_bytes_are_counted_until_the_image_is_answered() {
    const ZEROS: usize = 700_000;
    let server = Staged::ready(Settings::default());
    let body = common::gzip(&[common::bytes("photos/cat_451x300.jpg"), vec![0; ZEROS]].concat());
    assert!(body.len() < ZEROS / 4, "{}", body.len());
    std::thread::scope(|scope| {
        let request = scope.spawn(|| server.infer(&[("Content-Encoding", "gzip")], &body));
        server.engine_works();
        let counted = server.metric("kiln_inflight_bytes");
        server.let_it_end(End::Rows);
        assert_eq!(request.join().unwrap().status, 200);
        assert!(counted > ZEROS as f64, "{counted}");
    });
    until(|| server.metric("kiln_inflight_bytes") == 0.0);
}

#[test]
fn server_exits_if_a_device_cannot_be_replaced() {
    let server = Staged::ready(Settings::default());
    server.let_it_end(End::Failure);
    check(&server.predict(), 500, "device_failed");
    server.let_it_end(End::Failure);
    // An orchestrator restarts the process.
    until(|| TcpStream::connect(server.address()).is_err());
}

/// Waits until `holds` returns true.
#[track_caller]
fn until(holds: impl Fn() -> bool) {
    common::until("a state of the server", Duration::from_secs(60), holds, String::new);
}

#[test]
fn loading_server_returns_503_until_it_is_ready() {
    let mut server = Staged::loading(Settings::default());
    check(&server.predict(), 503, "starting");
    let ready = server.get("/health/ready");
    assert_eq!((ready.status, ready.json()["state"].as_str()), (503, Some("starting")));
    server.open();
    server.let_it_end(End::Rows);
    assert_eq!(server.predict().status, 200);
}

#[test]
fn stalled_body_returns_408() {
    let server = Staged::ready(Settings { body_timeout: Duration::from_millis(200), ..Settings::default() });
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!("POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: 9999\r\n\r\n");
    stream.write_all(format!("{head}half").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"request_timeout\""), "{answer}");
}
