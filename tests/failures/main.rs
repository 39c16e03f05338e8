//! What a client is told when the server is full, late, broken, or not there yet: over a real socket, with an engine
//! that fails on demand.

#[path = "../common/mod.rs"]
mod common;
#[path = "../in_process/mod.rs"]
mod in_process;
mod staged;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Answer, KEY};
use kiln::telemetry::logging::{self, LogFormat};
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
fn a_failing_device_is_told_to_the_operator_and_not_to_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let config = logging::Config {
        level: "warn".parse().unwrap(),
        format: LogFormat::Json,
        file: Some(directory.path().join("app.log")),
        files_kept: 1,
    };
    let written_out = logging::init(&config).unwrap();
    let server = Staged::ready(Settings::default());
    assert_eq!(server.get("/health/ready").status, 200);
    server.let_it_end(End::Failure);
    let failed = server.predict();
    check(&failed, 500, "device_failed");
    assert!(!failed.text().contains("0xdead"), "{}", failed.text());
    let ready = server.get("/health/ready");
    assert_eq!((ready.status, ready.json()["state"].as_str()), (503, Some("failed")));
    drop(written_out);
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap();
    let log = std::fs::read_to_string(file.path()).unwrap();
    assert!(log.contains("0xdead"), "{log}");
    let id = failed.header("x-request-id").unwrap();
    assert!(log.lines().any(|line| line.contains(id) && line.contains("device_failed")), "{log}");
}

#[test]
fn an_engine_that_panics_is_not_asked_again() {
    let server = Staged::ready(Settings::default());
    server.let_it_end(End::Panic);
    check(&server.predict(), 500, "device_failed");
    // Closing takes the scheduler a moment after the answer; until then it is a failure like the first.
    let later = std::iter::repeat_with(|| server.predict()).find(|answer| answer.status != 500).unwrap();
    check(&later, 503, "unavailable");
    assert_eq!(server.get("/health/live").status, 200);
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
fn a_body_that_stops_coming_is_a_client_too_slow() {
    let server = Staged::ready(Settings { body_timeout: Duration::from_millis(200), ..Settings::default() });
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!("POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: 9999\r\n\r\n");
    stream.write_all(format!("{head}half").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"client_too_slow\""), "{answer}");
}
