//! Clients that stop in the middle of something.

use std::time::Duration;

use poem::endpoint::{make, make_sync};
use poem::http::StatusCode;
use poem::{Endpoint, Request};

use super::super::{BodyProgress, Config};
use super::{Running, SHORT, config};

fn hello() -> impl Endpoint + 'static {
    make_sync(|_| "hello")
}

/// Reads the body and answers with its length, or with 408 and whether the time-out showed.
fn count_bytes() -> impl Endpoint + 'static {
    make(|mut request: Request| async move {
        let progress = request.extensions().get::<BodyProgress>().cloned();
        match request.take_body().into_bytes().await {
            Ok(bytes) => (StatusCode::OK, format!("{} bytes.", bytes.len())),
            Err(error) => {
                let noticed = progress.unwrap().timed_out();
                (StatusCode::REQUEST_TIMEOUT, format!("{error}; noticed {noticed}."))
            }
        }
    })
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let config = Config { header_read_timeout: SHORT, ..config() };
    let server = Running::new(config, hello()).await;
    let mut client = server.connect().await;
    assert_eq!(client.read_to_close().await, "");
}

#[tokio::test]
async fn half_a_header_is_closed() {
    let config = Config { header_read_timeout: SHORT, ..config() };
    let server = Running::new(config, hello()).await;
    for half in ["G", "GET / HTTP/1.1\r\nHo", "PRI * HTTP/2.0\r\n"] {
        let mut client = server.connect().await;
        client.send(half).await;
        assert_eq!(client.read_to_close().await, "", "after {half:?}");
    }
}

#[tokio::test]
async fn half_of_a_later_header_is_closed() {
    let config = Config { header_read_timeout: SHORT, ..config() };
    let server = Running::new(config, hello()).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.read_to("hello").await;
    client.stays_silent_for(2 * SHORT).await;
    client.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(client.read_to_close().await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let config = Config { idle_timeout: SHORT, ..config() };
    let server = Running::new(config, hello()).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.read_to("hello").await;
    assert_eq!(client.read_to_close().await, "");
}

#[tokio::test]
async fn a_slow_answer_is_not_an_idle_connection() {
    let config = Config { idle_timeout: SHORT, header_read_timeout: SHORT, ..config() };
    let slow = make(|_| async {
        tokio::time::sleep(3 * SHORT).await;
        "hello"
    });
    let server = Running::new(config, slow).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.read_to("hello").await;
}

#[tokio::test]
async fn a_stalled_body_is_an_error_the_handler_can_name() {
    let config = Config { body_timeout: SHORT, ..config() };
    let server = Running::new(config, count_bytes()).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc").await;
    let answer = client.read_to_close().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.ends_with("; noticed true."), "{answer}");
}

#[tokio::test]
async fn a_slow_body_that_moves_is_read_to_its_end() {
    let second = Duration::from_secs(1);
    let config = Config { body_timeout: second, min_body_rate: 1, idle_timeout: SHORT, ..config() };
    let server = Running::new(config, count_bytes()).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\n").await;
    for piece in ["a", "b", "c", "d", "e"] {
        client.send(piece).await;
        client.stays_silent_for(second / 4).await;
    }
    client.send("f").await;
    let answer = client.read_to("6 bytes.").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_comes_in_drops_is_given_up() {
    let config = Config { body_timeout: 2 * SHORT, min_body_rate: 1000, ..config() };
    let server = Running::new(config, count_bytes()).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n").await;
    let begun = std::time::Instant::now();
    // Each piece comes in time, and all of them together do not.
    while client.says_nothing_for(SHORT / 2).await {
        client.send("a").await;
        assert!(begun.elapsed() < super::PATIENCE, "drops are listened to");
    }
}
