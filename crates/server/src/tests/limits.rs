//! Too many, too much, and a handler that breaks.

use std::io::ErrorKind;

use poem::endpoint::{make, make_sync};
use poem::http::StatusCode;
use poem::{Request, Response};
use tokio::io::AsyncWriteExt;

use super::super::{Config, Server};
use super::{A_MOMENT, Running, config};

/// Bytes that no socket buffer holds.
const LARGE: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn the_cap_lets_the_next_client_wait_for_a_free_slot() {
    let config = Config { max_connections: 2, ..config() };
    let server = Running::new(config, make_sync(|_| "hello")).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for client in [&mut first, &mut second] {
        client.get("/").await;
        client.read_to("hello").await;
    }
    let mut third = server.connect().await;
    third.get("/").await;
    third.stays_silent_for(A_MOMENT).await;
    drop(first);
    third.read_to("hello").await;
    second.get("/").await;
    second.read_to("hello").await;
}

#[tokio::test]
async fn an_oversized_header_is_answered_with_431() {
    let config = Config { max_header_bytes: 8 * 1024, ..config() };
    let server = Running::new(config, make_sync(|_| "hello")).await;
    let mut client = server.connect().await;
    let long = "x".repeat(LARGE);
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {long}\r\n\r\n");
    client.send(&request).await;
    let answer = client.read_to_close().await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// The client has megabytes to send, and reads only after sending them.
#[tokio::test]
async fn an_answer_given_before_the_body_was_read_arrives() {
    let refuse = make_sync(|_| StatusCode::PAYLOAD_TOO_LARGE);
    let server = Running::new(config(), refuse).await;
    for answered_first in [false, true] {
        let mut client = server.connect().await;
        let header = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {LARGE}\r\n\r\n");
        client.send(&header).await;
        if answered_first {
            client.0.readable().await.unwrap();
        }
        client.0.write_all(&vec![0; LARGE]).await.unwrap();
        let answer = client.read_to_close().await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[tokio::test]
async fn a_panic_costs_its_own_connection_and_no_slot() {
    let config = Config { max_connections: 1, ..config() };
    let fragile = make(|request: Request| async move {
        assert_ne!(request.uri().path(), "/panic", "as the test wants");
        Response::from("hello")
    });
    let server = Running::new(config, fragile).await;
    let mut unlucky = server.connect().await;
    unlucky.get("/panic").await;
    unlucky.is_dropped().await;
    let mut next = server.connect().await;
    next.get("/").await;
    next.read_to("hello").await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_what_to_do() {
    let first = Server::bind(config(), None).await.unwrap();
    let taken = Config { listen: first.local_addr(), ..config() };
    let error = Server::bind(taken, None).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&first.local_addr().to_string()));
    assert!(message.contains("choose another port"), "{message}");
    let source = std::error::Error::source(&error).unwrap();
    let source = source.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::AddrInUse);
}
