//! Requests that are refused by their head alone: the client has sent no byte of the body, and gets the whole response.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::KEY;
use crate::staged_engine::{End, Settings, Staged};

/// Operations that read images, by path.
const PATHS: [&str; 4] = ["/predict", "/predict/raw", "/predict/batch", "/v2/models/efficientnet-lite0/infer"];

/// Sends the head of a request for an upload of 500 kB, and returns everything that the server sends until it closes the
/// connection.
fn send_head(server: &Staged, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: 500000\r\n\
         Content-Type: multipart/form-data; boundary=end\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|e| panic!("{e} after {answer:?}"));
    answer
}

/// Asserts that the first and only response is an error with this status and code.
#[track_caller]
fn check(answer: &str, status: u16, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

const EXPECT: &str = "Expect: 100-continue\r\n";

#[test]
fn unknown_and_loading_models_are_refused_before_the_upload() {
    let mut server = Staged::loading(Settings::default());
    for path in PATHS {
        for headers in ["", EXPECT] {
            check(&send_head(&server, path, headers), 503, "starting");
        }
    }
    server.open();
    for path in
        ["/predict?model=x", "/predict/raw?model=x", "/predict/batch?model=x", "/embed?model=x", "/embed/raw?model=x"]
    {
        check(&send_head(&server, path, EXPECT), 404, "unknown_model");
    }
    check(&send_head(&server, "/predict/raw?version=x", ""), 404, "unknown_version");
    check(&send_head(&server, "/v2/models/x/infer", ""), 404, "unknown_model");
    check(&send_head(&server, "/v2/models/efficientnet-lite0/versions/9/infer", EXPECT), 404, "unknown_version");
    check(&send_head(&server, "/embed/raw", EXPECT), 400, "model_returns_classes");
}

#[test]
fn full_queue_is_refused_before_the_upload_and_counted() {
    let server = Staged::ready(Settings { queue_capacity: 1, ..Settings::default() });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.predict());
        server.engine_works();
        let before = server.metric("nv_inference_request_failure");
        for path in PATHS {
            for headers in ["", EXPECT] {
                let answer = send_head(&server, path, headers);
                check(&answer, 429, "overloaded");
                assert!(answer.to_ascii_lowercase().contains("\r\nretry-after: "), "{answer}");
            }
        }
        assert_eq!(server.metric("nv_inference_request_failure") - before, 8.0);
        server.let_it_end(End::Rows);
        assert_eq!(first.join().unwrap().status, 200);
    });
    // The engine is idle again, and the client is asked for its body.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head =
        format!("POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: 9\r\n{EXPECT}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn hopeless_timeout_is_refused_before_the_upload() {
    let server = Staged::ready(Settings::default());
    server.learn_batch_time();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.predict());
        server.engine_works();
        for path in ["/predict", "/predict/raw", "/predict/batch"] {
            let headers = format!("{EXPECT}X-Request-Timeout-Ms: 10\r\n");
            check(&send_head(&server, path, &headers), 429, "deadline_unmeetable");
        }
        server.let_it_end(End::Rows);
        assert_eq!(first.join().unwrap().status, 200);
    });
}
