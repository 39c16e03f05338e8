//! Clients that stop, or slow down, in the middle of a request.

use std::io::ErrorKind;
use std::time::Duration;

use poem::endpoint::{make, make_sync};
use poem::error::ReadBodyError;
use poem::http::StatusCode;
use poem::{Endpoint, Request};

use super::{SHORT_TIMEOUT, TestServer, config};
use crate::Config;

fn hello() -> impl Endpoint + 'static {
    make_sync(|_| "hello")
}

/// Returns the length of the body, or 408 and whether the error is a timeout.
fn count_bytes() -> impl Endpoint + 'static {
    make(|mut request: Request| async move {
        // Unlike `into_bytes`, this keeps the kind of the error.
        match request.take_body().into_bytes_limit(usize::MAX).await {
            Ok(bytes) => (StatusCode::OK, format!("{} bytes.", bytes.len())),
            Err(error) => {
                let timed_out = matches!(&error, ReadBodyError::Io(error) if error.kind() == ErrorKind::TimedOut);
                (StatusCode::REQUEST_TIMEOUT, format!("{error}; timed out: {timed_out}."))
            }
        }
    })
}

#[tokio::test]
async fn silent_connection_is_closed() {
    let config = Config { header_read_timeout: SHORT_TIMEOUT, ..config() };
    let server = TestServer::new(config, hello()).await;
    let mut client = server.connect().await;
    assert_eq!(client.read_to_close().await, "");
}

#[tokio::test]
async fn connection_with_a_partial_request_head_is_closed() {
    let config = Config { header_read_timeout: SHORT_TIMEOUT, ..config() };
    let server = TestServer::new(config, hello()).await;
    for half in ["G", "GET / HTTP/1.1\r\nHo", "PRI * HTTP/2.0\r\n"] {
        let mut client = server.connect().await;
        client.send(half).await;
        assert_eq!(client.read_to_close().await, "", "after {half:?}");
    }
}

#[tokio::test]
async fn connection_with_a_partial_second_request_head_is_closed() {
    let config = Config { header_read_timeout: SHORT_TIMEOUT, ..config() };
    let server = TestServer::new(config, hello()).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.read_to("hello").await;
    client.expect_silence(2 * SHORT_TIMEOUT).await;
    client.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(client.read_to_close().await, "");
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let config = Config { idle_timeout: SHORT_TIMEOUT, ..config() };
    let server = TestServer::new(config, hello()).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.read_to("hello").await;
    assert_eq!(client.read_to_close().await, "");
}

#[tokio::test]
async fn slow_endpoint_does_not_count_as_idle_time() {
    let config = Config { idle_timeout: SHORT_TIMEOUT, header_read_timeout: SHORT_TIMEOUT, ..config() };
    let slow = make(|_| async {
        tokio::time::sleep(3 * SHORT_TIMEOUT).await;
        "hello"
    });
    let server = TestServer::new(config, slow).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.read_to("hello").await;
}

#[tokio::test]
async fn stalled_body_times_out_and_is_reported() {
    let config = Config { body_timeout: SHORT_TIMEOUT, ..config() };
    let server = TestServer::new(config, count_bytes()).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc").await;
    let response = client.read_to_close().await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert!(response.ends_with("; timed out: true."), "{response}");
}

#[tokio::test]
async fn slow_body_above_the_minimum_rate_is_read_completely() {
    let second = Duration::from_secs(1);
    let config = Config { body_timeout: second, min_body_rate: 1, idle_timeout: SHORT_TIMEOUT, ..config() };
    let server = TestServer::new(config, count_bytes()).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\n").await;
    for piece in ["a", "b", "c", "d", "e"] {
        client.send(piece).await;
        client.expect_silence(second / 4).await;
    }
    client.send("f").await;
    let response = client.read_to("6 bytes.").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[tokio::test]
async fn body_below_the_minimum_rate_is_aborted() {
    let config = Config { body_timeout: 2 * SHORT_TIMEOUT, min_body_rate: 1000, ..config() };
    let server = TestServer::new(config, count_bytes()).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n").await;
    let begun = std::time::Instant::now();
    // Each piece comes in time, but the average rate is too low.
    while client.is_silent_for(SHORT_TIMEOUT / 2).await {
        client.send("a").await;
        assert!(begun.elapsed() < super::TEST_TIMEOUT, "the server still reads the body");
    }
}
