//! Connection limit, size limits, panics in the endpoint, and errors of binding.

use std::io::ErrorKind;

use poem::endpoint::{make, make_sync};
use poem::http::StatusCode;
use poem::{Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{OBSERVATION_TIME, TEST_TIMEOUT, TestServer, config};
use crate::{Config, Server};

/// More bytes than a socket buffer holds.
const LARGE: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn client_over_the_connection_limit_waits_until_another_leaves() {
    let config = Config { max_connections: 2, ..config() };
    let server = TestServer::new(config, make_sync(|_| "hello")).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for client in [&mut first, &mut second] {
        client.get("/").await;
        client.read_to("hello").await;
    }
    let mut third = server.connect().await;
    third.get("/").await;
    third.expect_silence(OBSERVATION_TIME).await;
    drop(first);
    third.read_to("hello").await;
    second.get("/").await;
    second.read_to("hello").await;
}

#[tokio::test]
async fn oversized_request_head_returns_431() {
    let config = Config { max_header_bytes: 8 * 1024, ..config() };
    let server = TestServer::new(config, make_sync(|_| "hello")).await;
    let mut client = server.connect().await;
    let long = "x".repeat(LARGE);
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {long}\r\n\r\n");
    client.send(&request).await;
    let response = client.read_to_close().await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
}

/// The client sends megabytes, and reads only after that.
#[tokio::test]
async fn response_sent_before_the_body_was_read_arrives() {
    let refuse = make_sync(|_| StatusCode::PAYLOAD_TOO_LARGE);
    let server = TestServer::new(config(), refuse).await;
    for answered_first in [false, true] {
        let mut client = server.connect().await;
        let header = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {LARGE}\r\n\r\n");
        client.send(&header).await;
        if answered_first {
            client.0.readable().await.unwrap();
        }
        client.0.write_all(&vec![0; LARGE]).await.unwrap();
        let response = client.read_to_close().await;
        assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    }
}

#[tokio::test]
async fn panic_closes_its_connection_and_releases_the_permit() {
    let config = Config { max_connections: 1, ..config() };
    let fragile = make(|request: Request| async move {
        assert_ne!(request.uri().path(), "/panic", "the test requests this panic");
        Response::from("hello")
    });
    let server = TestServer::new(config, fragile).await;
    let mut unlucky = server.connect().await;
    unlucky.get("/panic").await;
    unlucky.expect_drop().await;
    let mut next = server.connect().await;
    next.get("/").await;
    next.read_to("hello").await;
}

/// The kernel queues connections of a server that does not accept yet, or that has no time to.
#[tokio::test]
async fn burst_of_connections_waits_in_the_listen_backlog() {
    let server = Server::bind(config(), None).await.unwrap();
    let mut clients = Vec::new();
    for number in 0..400 {
        let connect = timeout(TEST_TIMEOUT, TcpStream::connect(server.local_addr()));
        clients.push(connect.await.unwrap_or_else(|_| panic!("connection {number} is not queued")).unwrap());
    }
}

#[tokio::test]
async fn occupied_port_is_an_error_with_advice() {
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

#[tokio::test]
async fn connection_survives_a_small_unread_body_and_is_announced_to_close_before_a_large_one() {
    let server = TestServer::new(config(), make_sync(|_| "hello")).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n").await;
    client.send(&"x".repeat(200_000)).await;
    let response = client.read_to("hello").await.to_ascii_lowercase();
    assert!(!response.contains("connection: close"), "{response}");
    client.get("/").await;
    client.read_to("hello").await;
    // A client that waits for '100 Continue' must not get it, so that its body cannot be discarded.
    for headers in ["Content-Length: 300000", "Content-Length: 10\r\nExpect: 100-continue"] {
        let mut client = server.connect().await;
        client.send(&format!("POST / HTTP/1.1\r\nHost: test\r\n{headers}\r\n\r\n")).await;
        let response = client.read_to_close().await.to_ascii_lowercase();
        assert!(response.starts_with("http/1.1 200 ") && response.contains("connection: close"), "{response}");
        assert!(response.ends_with("hello"), "{response}");
    }
}
