//! Clients that are slow, large or many, against the real server: each meets its limit, and the others are served.
#![forbid(unsafe_code)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{KEY, Server, bytes, memory, until};

/// Far longer than any limit here, far shorter than the usual ones.
const PATIENCE: Duration = Duration::from_secs(20);

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn head(length: &str) -> String {
    format!("POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nConnection: close\r\nX-API-Key: {KEY}\r\n{length}\r\n")
}

/// All that the server says before it closes the connection; a reset is an end too.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        Err(error) => panic!("{error} after {answer:?}"),
    }
    String::from_utf8(answer).unwrap()
}

/// Sends a byte every 200 ms until the server has had enough, and gives what it says, and after how long.
fn drip(stream: &mut TcpStream, bytes: &[u8]) -> (String, Duration) {
    let begun = Instant::now();
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for byte in bytes {
                // The pace of the client is what is tested.
                std::thread::sleep(Duration::from_millis(200));
                if begun.elapsed() > PATIENCE || writer.write_all(&[*byte]).is_err() {
                    break;
                }
            }
        });
        let answer = rest(stream);
        let after = begun.elapsed();
        // Ends the other thread with its next byte.
        let _ = stream.shutdown(std::net::Shutdown::Both);
        (answer, after)
    })
}

fn status(answer: &str) -> Option<&str> {
    answer.strip_prefix("HTTP/1.1 ")?.split(' ').next()
}

#[test]
fn slow_clients_are_sent_away_and_others_are_served_meanwhile() {
    let flags = ["--device", "cpu", "--header-timeout", "1s", "--body-timeout", "1s", "--idle-timeout", "1s"];
    let server = Server::start(&flags);
    let cat = bytes("photos/cat_640x480.jpg");
    let length = format!("Content-Length: {}\r\n", cat.len());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let text = format!("GET /models HTTP/1.1\r\nX-Filler: {}", "x".repeat(1000));
            let (answer, after) = drip(&mut connect(&server), text.as_bytes());
            assert_eq!(answer, "", "half a head is no request");
            assert!(after < Duration::from_secs(5), "a head in drops was listened to for {after:?}");
        });
        scope.spawn(|| {
            let mut stream = connect(&server);
            stream.write_all(b"GET /models HT").unwrap();
            assert_eq!(rest(&mut stream), "");
        });
        scope.spawn(|| {
            let mut stream = connect(&server);
            stream.write_all(head(&length).as_bytes()).unwrap();
            let (answer, after) = drip(&mut stream, &cat);
            assert_eq!(status(&answer), Some("408"), "{answer}");
            assert!(answer.contains("request_timeout"), "{answer}");
            assert!(after < Duration::from_secs(5), "a body in drops was listened to for {after:?}");
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
            assert_eq!(status(&answer), Some("200"), "an idle connection was not closed in order");
        });
        for _ in 0..10 {
            assert_eq!(server.raw("/predict/raw", &cat).top1(), 285);
        }
    });
}

#[test]
fn what_is_too_large_or_endless_has_its_status() {
    let server = Server::start(&["--device", "cpu", "--max-body-bytes", "1MiB", "--max-header-bytes", "8KiB"]);
    let said = |text: String| {
        let mut stream = connect(&server);
        // It may close before all is written.
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
        let answer = said(text);
        assert!(status(&answer).unwrap_or_default().starts_with(expected), "{expected}: {answer}");
        assert!(answer.contains(code), "{answer}");
    }
    // One that needs no body is not asked for a length.
    let index =
        format!("POST /v2/repository/index HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&said(index)), Some("200"));
}

#[test]
fn all_bodies_together_have_a_bound() {
    let server = Server::start(&["--device", "cpu", "--max-inflight-body-bytes", "1MiB"]);
    let mut held = connect(&server);
    held.write_all(head("Content-Length: 1000000\r\n").as_bytes()).unwrap();
    held.write_all(&[0; 1000]).unwrap();
    let cat = bytes("photos/cat_640x480.jpg");
    // Who comes first has the room, so the first has to have it before the second comes.
    let held_bytes = || server.metric("kiln_inflight_bytes", &["kind=\"body\""]);
    until("a first body under way", PATIENCE, || held_bytes() == 1e6, || held_bytes().to_string());
    let refused = server.raw("/predict/raw", &cat);
    assert_eq!((refused.status, refused.code().as_str()), (429, "overloaded"));
    assert!(refused.header("retry-after").is_some());
    drop(held);
    let is_answered = || server.raw("/predict/raw", &cat).status == 200;
    until("room for the second", PATIENCE, is_answered, || held_bytes().to_string());
}

#[test]
fn ten_thousand_idle_connections_leave_room_for_others() {
    const IDLE: usize = 10_000;
    // Descriptors of this process; the server raises its own limit.
    let allowed = rlimit::increase_nofile_limit(IDLE as u64 + 500).unwrap();
    if allowed < IDLE as u64 + 500 {
        eprintln!("SKIPPED: only {allowed} open files are allowed (ulimit -Hn)");
        return;
    }
    let server = Server::start(&["--device", "cpu", "--max-connections", "11000", "--header-timeout", "10m"]);
    let cat = bytes("photos/cat_640x480.jpg");
    server.raw("/predict/raw", &cat).top1();
    let before = memory::resident(server.process_id());
    let idle: Vec<TcpStream> = (0..IDLE).map(|_| connect(&server)).collect();
    let open = || server.metric("kiln_open_connections", &[]);
    until("all connections", PATIENCE, || open() >= IDLE as f64, || open().to_string());
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let sent = Instant::now();
            assert_eq!(server.raw("/predict/raw", &cat).top1(), 285);
            sent.elapsed()
        })
        .collect();
    times.sort();
    let after = memory::resident(server.process_id());
    let each = before.zip(after).map(|(before, after)| after.saturating_sub(before) / IDLE);
    println!("beside {IDLE} idle connections a picture takes {:?} (median); {each:?} bytes each", times[10]);
    assert!(times[10] < Duration::from_secs(1), "{times:?}");
    assert!(each.is_none_or(|bytes| bytes < 16 * 1024), "{each:?} bytes for an idle connection");
    drop(idle);
}
