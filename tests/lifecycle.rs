//! Starting, stopping and everything on the way out, with the real binary.
#![forbid(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{KEY, Server, bytes, kiln, said, until};

#[test]
fn sigterm_answers_what_is_in_flight_and_exits_with_zero() {
    let server = Server::start(&["--device", "cpu", "--drain-delay", "1s"]);
    let cat = bytes("photos/cat_640x480.jpg");
    // A request whose head and half of whose body have arrived is in flight.
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n",
        cat.len()
    )
    .unwrap();
    stream.write_all(&cat[..1000]).unwrap();
    server.terminate();
    // The drain delay: still served, but not ready.
    let is_off = || server.get("/health/ready").status != 200;
    until("readiness off", Duration::from_secs(60), is_off, String::new);
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
fn a_server_without_a_key_makes_one_that_only_its_owner_can_read() {
    let runtime = tempfile::tempdir().unwrap();
    let mut process = kiln()
        .env_remove("KILN_API_KEY")
        .env("XDG_RUNTIME_DIR", runtime.path())
        .args(["--listen", "127.0.0.1:0", "--device", "cpu"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    let mut stderr = process.stderr.take().unwrap();
    let mut piece = [0; 4096];
    while !log.contains("the API key for this run is in a file") {
        let read = stderr.read(&mut piece).unwrap();
        assert!(read > 0, "ended early: {log}");
        log.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    let file = std::fs::read_dir(runtime.path()).unwrap().next().unwrap().unwrap();
    let key = std::fs::read_to_string(file.path()).unwrap();
    assert!(key.starts_with("kiln_") && !log.contains(key.trim()), "{log}");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_server_that_others_can_reach_needs_a_key() {
    for command in [&["serve"][..], &["config", "check"]] {
        let open = ["--listen", "0.0.0.0:0"];
        let (status, _, complaint) = said(kiln().env_remove("KILN_API_KEY").args(command).args(open));
        assert!(status == 2 && complaint.contains("KILN_API_KEY=\"$(kiln keygen)\""), "{complaint}");
    }
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, _, complaint) = said(kiln().args(["--listen", &address]));
    assert!(status == 1 && complaint.contains(&address), "{complaint}");
}

#[test]
fn a_device_that_is_not_there_is_a_process_that_does_not_start() {
    let (status, _, text) = said(kiln().args(["--listen", "127.0.0.1:0", "--device", "cuda:7"]));
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("--features cuda") || text.contains("does not start"), "{text}");
}

#[test]
fn the_log_file_has_request_ids_and_no_key_and_names_of_files_only_when_they_are_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.log");
    let server = Server::start(&["--device", "cpu", "--log-level", "trace", "--log-file", file.to_str().unwrap()]);
    server.get_with("/models", &[("X-API-Key", KEY), ("X-Request-Id", "find-me-42")]);
    let refused = server.predict("/predict", "../a\t\u{202e}all is well.exe", b"no picture");
    assert_eq!(refused.code(), "extension_not_accepted");
    // Other controls do not even get so far.
    assert_eq!(server.predict("/predict", "a\u{1b}[2J.exe", b"no picture").code(), "malformed_request");
    server.terminate();
    assert!(server.wait().success());
    let logged: String = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(logged.lines().any(|line| line.contains("find-me-42") && line.contains("answered")), "{logged}");
    assert!(!logged.contains(KEY), "the key is in the log");
    let name = |line: &str| -> Option<String> {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        Some(event["message"].as_str()?.contains("was refused").then(|| event["file"].as_str())??.to_string())
    };
    assert_eq!(logged.lines().find_map(name).as_deref(), Some("a??all is well.exe"), "{logged}");
    assert!(!logged.contains("\\t") && !logged.contains('\u{202e}'), "{logged}");
}
