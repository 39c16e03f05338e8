//! Graceful shutdown.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use poem::endpoint::{make, make_sync};
use poem::{Endpoint, Response};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{SHORT_TIMEOUT, TestServer, config};
use crate::Config;

/// Controls an endpoint whose response waits for the test.
struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
}

fn gate() -> (Gate, impl Endpoint + 'static) {
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gate = Gate { entered: Arc::clone(&entered), open: Arc::clone(&open) };
    let endpoint = make(move |_| {
        let (entered, open) = (Arc::clone(&entered), Arc::clone(&open));
        async move {
            entered.notify_one();
            open.notified().await;
            Response::from("hello")
        }
    });
    (gate, endpoint)
}

/// Connects repeatedly until the server refuses a connection.
async fn wait_until_connections_are_refused(server: &TestServer) {
    let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
    tokio::time::timeout(super::TEST_TIMEOUT, refused).await.expect("the server still accepts connections");
}

#[tokio::test]
async fn request_in_flight_is_answered() {
    let (gate, endpoint) = gate();
    let server = TestServer::new(config(), endpoint).await;
    let mut client = server.connect().await;
    client.get("/").await;
    gate.entered.notified().await;
    server.request_shutdown().await;
    wait_until_connections_are_refused(&server).await;
    gate.open.notify_one();
    let response = client.read_to_close().await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("connection: close\r\n"), "{response}");
    assert!(response.ends_with("hello"), "{response}");
    server.wait_until_stopped().await;
}

#[tokio::test]
async fn idle_connection_is_closed_after_a_grace_for_a_last_request() {
    let server = TestServer::new(config(), make_sync(|_| "hello")).await;
    let mut used = server.connect().await;
    used.get("/").await;
    used.read_to("hello").await;
    let mut silent = server.connect().await;
    server.request_shutdown().await;
    wait_until_connections_are_refused(&server).await;
    // A request that was already on its way is served, and its response closes the connection.
    let mut late = used;
    late.get("/").await;
    let response = late.read_to_close().await;
    assert!(response.contains("connection: close\r\n") && response.ends_with("hello"), "{response}");
    silent.expect_drop().await;
    server.wait_until_stopped().await;
}

#[tokio::test]
async fn slowly_read_response_is_not_cut_off() {
    // More than the socket buffers of both ends hold, and more than the client reads within the grace.
    let (pieces, piece) = (16, 4 << 20);
    let body = vec![b'x'; pieces * piece];
    let server = TestServer::new(config(), make_sync(move |_| body.clone())).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.read_to("\r\n\r\n").await;
    server.request_shutdown().await;
    wait_until_connections_are_refused(&server).await;
    let mut bytes = vec![0; piece];
    for _ in 0..pieces {
        // The test needs a client that reads slowly.
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.fill(&mut bytes).await;
    }
    server.wait_until_stopped().await;
}

#[tokio::test]
async fn connections_in_the_listen_backlog_are_served() {
    let (gate, endpoint) = gate();
    let server = TestServer::new(Config { max_connections: 1, ..config() }, endpoint).await;
    let mut first = server.connect().await;
    first.get("/").await;
    gate.entered.notified().await;
    // The connection limit is reached, so these stay in the backlog.
    let mut waiting = [server.connect().await, server.connect().await];
    for client in &mut waiting {
        client.get("/").await;
    }
    server.request_shutdown().await;
    wait_until_connections_are_refused(&server).await;
    for client in [&mut first].into_iter().chain(&mut waiting) {
        gate.open.notify_one();
        let response = client.read_to_close().await;
        assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("hello"), "{response}");
    }
    server.wait_until_stopped().await;
}

#[tokio::test]
async fn each_response_closes_its_connection_while_draining() {
    let server = TestServer::with_drain_delay(Duration::from_secs(3600), config(), make_sync(|_| "hello")).await;
    let mut before = server.connect().await;
    before.get("/").await;
    assert!(!before.read_to("hello").await.contains("connection: close"));
    server.request_shutdown().await;
    server.wait_until_draining().await;
    let mut new = server.connect().await;
    for client in [&mut before, &mut new] {
        client.get("/").await;
        assert!(client.read_to_close().await.contains("connection: close\r\n"));
    }
    server.request_shutdown().await;
    server.wait_until_stopped().await;
}

#[tokio::test]
async fn partial_request_head_does_not_delay_the_shutdown() {
    let server = TestServer::with_shutdown_grace(Duration::from_secs(3600), config(), make_sync(|_| "hello")).await;
    let mut client = server.connect().await;
    client.send("GET / HT").await;
    client.expect_silence(SHORT_TIMEOUT).await;
    server.request_shutdown().await;
    // The header timeout is an hour, and the shutdown grace exceeds the timeout of this test.
    server.wait_until_stopped().await;
}

#[tokio::test]
async fn unfinished_request_is_dropped_after_the_shutdown_grace() {
    let stuck = make(|_| pending::<Response>());
    let server = TestServer::with_shutdown_grace(SHORT_TIMEOUT, config(), stuck).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.expect_silence(super::OBSERVATION_TIME).await;
    server.request_shutdown().await;
    client.expect_drop().await;
    server.wait_until_stopped().await;
}

#[tokio::test]
async fn second_shutdown_request_skips_the_grace() {
    let (gate, endpoint) = gate();
    let server = TestServer::with_shutdown_grace(Duration::from_secs(3600), config(), endpoint).await;
    let mut client = server.connect().await;
    client.get("/").await;
    gate.entered.notified().await;
    server.request_shutdown().await;
    wait_until_connections_are_refused(&server).await;
    server.request_shutdown().await;
    client.expect_drop().await;
    server.wait_until_stopped().await;
}

#[tokio::test]
async fn server_at_its_connection_limit_shuts_down() {
    let config = Config { max_connections: 1, ..config() };
    let server = TestServer::new(config, make_sync(|_| "hello")).await;
    let mut only = server.connect().await;
    only.get("/").await;
    only.read_to("hello").await;
    server.request_shutdown().await;
    assert_eq!(only.read_to_close().await, "");
    server.wait_until_stopped().await;
}
