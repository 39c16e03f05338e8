//! Request smuggling: a request with an ambiguous end is never treated as two requests.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::harness::Target;
use crate::common::KEY;

/// The request hidden behind each ambiguous one. It must not be answered; if it is, the connection closes after it.
const HIDDEN: &str =
    "GET /models HTTP/1.1\r\nHost: kiln\r\nConnection: close\r\nX-Request-Id: hidden-request\r\nX-API-Key: ";

/// Sends a request and reads until the server closes the connection.
fn answers(server: &Target, request: &[u8]) -> String {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("the server listens");
    // Keeps a failing test from hanging.
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    // The server may close before everything is sent.
    let _ = stream.write_all(request);
    let mut answers = Vec::new();
    match stream.read_to_end(&mut answers) {
        Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("the server neither responds nor closes: {e}"),
        _ => String::from_utf8_lossy(&answers).into_owned(),
    }
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    let head = format!("POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\n{headers}\r\n\r\n");
    format!("{head}{body}{HIDDEN}{KEY}\r\n\r\n").into_bytes()
}

fn get(start: &str) -> Vec<u8> {
    format!("{start}\r\n\r\n{HIDDEN}{KEY}\r\n\r\n").into_bytes()
}

#[test]
fn ambiguous_requests_are_rejected() {
    let cases: [(&str, Vec<u8>); 30] = [
        ("two lengths", post("Content-Length: 3\r\nContent-Length: 8", "abcabcab")),
        ("two lengths in one", post("Content-Length: 3, 8", "abcabcab")),
        ("a length and chunks", post("Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("chunks and a length", post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")),
        ("chunked, then identity", post("Transfer-Encoding: chunked, identity", "0\r\n\r\n")),
        ("identity alone", post("Transfer-Encoding: identity", "")),
        ("an unknown coding", post("Transfer-Encoding: xchunked", "0\r\n\r\n")),
        ("two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n")),
        ("a space before the colon", post("Transfer-Encoding : chunked", "0\r\n\r\n")),
        ("a space before a length's colon", post("Content-Length : 3", "abc")),
        ("a folded line", post("X-Folded: a\r\n b\r\nContent-Length: 3", "abc")),
        ("a folded length", post("Content-Length:\r\n 3", "abc")),
        ("a negative length", post("Content-Length: -1", "")),
        ("a length with a sign", post("Content-Length: +3", "abc")),
        ("a length in base 16", post("Content-Length: 0x3", "abc")),
        ("an endless length", post("Content-Length: 99999999999999999999999", "")),
        ("an empty length", post("Content-Length: ", "")),
        ("an endless chunk", post("Transfer-Encoding: chunked", "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n")),
        ("a negative chunk", post("Transfer-Encoding: chunked", "-1\r\nabc\r\n0\r\n\r\n")),
        ("a chunk that is too long for its size", post("Transfer-Encoding: chunked", "1\r\nabc\r\n0\r\n\r\n")),
        ("a line feed behind a chunk's size", post("Transfer-Encoding: chunked", "3\nabc\r\n0\r\n\r\n")),
        ("a line feed in a chunk's extension", post("Transfer-Encoding: chunked", "3;a\nb\r\nabc\r\n0\r\n\r\n")),
        ("a chunk's size with a sign", post("Transfer-Encoding: chunked", "+3\r\nabc\r\n0\r\n\r\n")),
        ("chunks in HTTP/1.0", get("POST / HTTP/1.0\r\nTransfer-Encoding: chunked")),
        ("zero in a header", post("X-Zero: a\0b\r\nContent-Length: 0", "")),
        ("a carriage return in a header", post("X-Return: a\rContent-Length: 3", "")),
        ("zero in a header's name", post("X-\0: a\r\nContent-Length: 0", "")),
        ("spaces in the address", get("GET /models /docs HTTP/1.1\r\nHost: kiln")),
        ("another protocol", get("GET / ICAP/1.0\r\nHost: kiln")),
        ("a header before the first line", get(" X: y\r\nGET /models HTTP/1.1\r\nHost: kiln")),
    ];
    let server = Target::new();
    let mut failures = Vec::new();
    for (name, request) in &cases {
        let answers = answers(&server, request);
        println!("{name}: {}", answers.lines().next().unwrap_or("closed"));
        let refused = answers.is_empty() || answers.starts_with("HTTP/1.1 400 ");
        if !refused || answers.contains("hidden-request") {
            failures.push(format!("{name}: {answers}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    server.assert_healthy();
}

/// Proves that the hidden request is answered behind a valid request, so that the other test can fail.
#[test]
fn two_valid_requests_are_both_answered() {
    let server = Target::new();
    for request in [post("Content-Length: 3", "abc"), post("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n")] {
        let answers = answers(&server, &request);
        assert!(answers.starts_with("HTTP/1.1 415 ") && answers.contains("hidden-request"), "{answers}");
    }
    // RFC 9112 (2.2) lets the server accept or reject lines that end without a carriage return.
    let bare = String::from_utf8(post("Content-Length: 3", "abc")).expect("text").replace("\r\n", "\n");
    let answers = answers(&server, bare.as_bytes());
    assert!(answers.starts_with("HTTP/1.1 4") || answers.is_empty(), "{answers}");
}
