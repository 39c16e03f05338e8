//! What a client is told when the server is full, late, broken, or not there yet: over a real socket, with an engine
//! that fails on demand.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../in_process/mod.rs"]
mod in_process;
mod staged;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Answer, KEY};
use kiln_runtime::telemetry::logging::{self, LogFormat};
use staged::{End, Settings, Staged};

fn check(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
    let seconds = answer.header("retry-after").map(|text| text.parse::<u64>().expect("whole seconds"));
    assert_eq!(seconds.is_some(), matches!(status, 429 | 503), "{:?}", answer.headers);
    assert!(seconds.is_none_or(|seconds| seconds >= 1), "{seconds:?}");
}

#[test]
fn a_full_server_says_so_at_once_and_when_to_come_again() {
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
fn a_picture_that_waits_beyond_its_deadline_is_not_run() {
    let server = Staged::ready(Settings { request_timeout: Duration::from_millis(500), ..Settings::default() });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.predict());
        server.engine_works();
        check(&server.predict(), 429, "deadline_passed");
        server.let_it_end(End::Rows);
        assert_eq!(first.join().unwrap().status, 200, "what runs in time is answered even late");
    });
}

#[test]
fn a_client_may_say_how_long_it_waits_and_is_told_at_once_when_that_is_in_vain() {
    let server = Staged::ready(Settings::default());
    for patience in ["0", "-1", "soon"] {
        check(&server.predict_within(patience), 400, "malformed_request");
    }
    // Enough batches to know by: each takes the time that the test takes to let it end.
    for _ in 0..10 {
        std::thread::scope(|scope| {
            let request = scope.spawn(|| server.predict());
            server.engine_works();
            std::thread::sleep(Duration::from_millis(20));
            server.let_it_end(End::Rows);
            assert_eq!(request.join().unwrap().status, 200);
        });
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.predict());
        server.engine_works();
        let started = std::time::Instant::now();
        check(&server.predict_within("15"), 429, "deadline_unmeetable");
        assert!(started.elapsed() < Duration::from_secs(10), "it waited for the engine");
        check(&server.predict_within("500"), 429, "deadline_passed");
        server.let_it_end(End::Rows);
        assert_eq!(first.join().unwrap().status, 200);
    });
}

#[test]
fn a_failing_device_is_told_to_the_operator_and_not_to_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let config = logging::Config {
        level: "warn".parse().unwrap(),
        format: LogFormat::Json,
        file: Some(directory.path().join("app.log")),
        files_kept: 1,
        file_max_bytes: 1 << 30,
    };
    let written_out = logging::init(&config).unwrap();
    let server = Staged::ready(Settings::default());
    assert_eq!(server.get("/health/ready").status, 200);
    server.let_it_end(End::Failure);
    let failed = server.predict();
    check(&failed, 500, "device_failed");
    assert!(!failed.text().contains("0xdead"), "{}", failed.text());
    let ready = server.get("/health/ready");
    assert_eq!((ready.status, ready.json()["state"].as_str()), (503, Some("recovering")));
    drop(written_out);
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap();
    let log = std::fs::read_to_string(file.path()).unwrap();
    assert!(log.contains("0xdead"), "{log}");
    let id = failed.header("x-request-id").unwrap();
    assert!(log.lines().any(|line| line.contains(id) && line.contains("device_failed")), "{log}");
}

#[test]
fn while_a_device_is_replaced_nobody_waits_and_afterwards_it_serves() {
    let server = Staged::ready(Settings::default());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| server.predict());
        server.engine_works();
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| server.predict())).collect();
        // Each of them is inside, decoded or not, before the engine fails.
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
fn clients_who_hang_up_cost_the_engine_nothing() {
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
        // They leave room for others although the engine is at work still.
        until(|| server.metric("kiln_cancelled_total") - before >= CLIENTS as f64);
        let last = scope.spawn(|| server.predict());
        until(|| server.metric("kiln_queue_depth") == 1.0);
        server.let_it_end(End::Rows);
        assert_eq!(first.join().unwrap().status, 200);
        server.let_it_end(End::Rows);
        assert_eq!(last.join().unwrap().status, 200);
    });
    let run = server.pictures_run();
    assert_eq!(run, 1, "besides the first one, only the last client's picture is run");
}

#[test]
fn what_is_inflated_counts_for_as_long_as_its_picture_waits() {
    const ZEROS: usize = 700_000;
    let server = Staged::ready(Settings::default());
    let body = common::gzip(&[common::bytes("photos/cat_451x300.jpg"), vec![0; ZEROS]].concat());
    assert!(body.len() < ZEROS / 4, "{}", body.len());
    std::thread::scope(|scope| {
        let request = scope.spawn(|| server.infer(&[("Content-Encoding", "gzip")], &body));
        server.engine_works();
        let held = server.metric("kiln_inflight_bytes");
        server.let_it_end(End::Rows);
        assert_eq!(request.join().unwrap().status, 200);
        assert!(held > ZEROS as f64, "{held}");
    });
    until(|| server.metric("kiln_inflight_bytes") == 0.0);
}

#[test]
fn a_device_that_cannot_be_replaced_ends_the_server() {
    let server = Staged::ready(Settings::default());
    server.let_it_end(End::Failure);
    check(&server.predict(), 500, "device_failed");
    server.let_it_end(End::Failure);
    // An orchestrator, which starts the process anew, is the one who can help.
    until(|| TcpStream::connect(server.address()).is_err());
}

/// Waits for what is about to happen.
#[track_caller]
fn until(happened: impl Fn() -> bool) {
    common::until("what is about to happen", Duration::from_secs(60), happened, String::new);
}

#[test]
fn a_server_that_is_loading_refuses_pictures_until_it_is_ready() {
    let mut server = Staged::loading(Settings::default());
    check(&server.predict(), 503, "starting");
    let ready = server.get("/health/ready");
    assert_eq!((ready.status, ready.json()["state"].as_str()), (503, Some("starting")));
    server.open();
    server.let_it_end(End::Rows);
    assert_eq!(server.predict().status, 200);
}

#[test]
fn a_body_that_stops_coming_is_a_request_timeout() {
    let server = Staged::ready(Settings { body_timeout: Duration::from_millis(200), ..Settings::default() });
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!("POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: 9999\r\n\r\n");
    stream.write_all(format!("{head}half").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"request_timeout\""), "{answer}");
}
