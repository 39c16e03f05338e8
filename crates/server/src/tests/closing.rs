//! The shutdown, seen from the sockets.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use poem::endpoint::{make, make_sync};
use poem::{Endpoint, Response};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{Running, SHORT, config};

/// An endpoint whose answer waits for the test.
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

/// Connects over and over until that is refused.
async fn refuses_connections(server: &Running) {
    let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
    tokio::time::timeout(super::PATIENCE, refused).await.expect("the server still accepts connections");
}

#[tokio::test]
async fn what_is_in_flight_is_answered() {
    let (gate, endpoint) = gate();
    let server = Running::new(config(), endpoint).await;
    let mut client = server.connect().await;
    client.get("/").await;
    gate.entered.notified().await;
    server.ask_to_stop().await;
    refuses_connections(&server).await;
    gate.open.notify_one();
    let answer = client.read_to_close().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("hello"), "{answer}");
    server.stopped().await;
}

#[tokio::test]
async fn idle_connections_are_closed_after_a_last_call() {
    let server = Running::new(config(), make_sync(|_| "hello")).await;
    let mut used = server.connect().await;
    used.get("/").await;
    used.read_to("hello").await;
    let mut silent = server.connect().await;
    server.ask_to_stop().await;
    refuses_connections(&server).await;
    // A request that was on its way is served, and the client learns that it was the last.
    let mut late = used;
    late.get("/").await;
    let answer = late.read_to_close().await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("hello"), "{answer}");
    silent.is_dropped().await;
    server.stopped().await;
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_is_not_cut_off() {
    // More than the kernel holds for both ends, and than is read in the time of a last call.
    let (pieces, piece) = (16, 4 << 20);
    let body = vec![b'x'; pieces * piece];
    let server = Running::new(config(), make_sync(move |_| body.clone())).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.read_to("\r\n\r\n").await;
    server.ask_to_stop().await;
    refuses_connections(&server).await;
    let mut bytes = vec![0; piece];
    for _ in 0..pieces {
        // The pace of the client is what is tested.
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.read_all_of(&mut bytes).await;
    }
    server.stopped().await;
}

#[tokio::test]
async fn who_waits_in_the_kernel_when_the_server_closes_is_served() {
    let (gate, endpoint) = gate();
    let server = Running::new(super::Config { max_connections: 1, ..config() }, endpoint).await;
    let mut first = server.connect().await;
    first.get("/").await;
    gate.entered.notified().await;
    // No slot is free, so these are not accepted.
    let mut waiting = [server.connect().await, server.connect().await];
    for client in &mut waiting {
        client.get("/").await;
    }
    server.ask_to_stop().await;
    refuses_connections(&server).await;
    for client in [&mut first].into_iter().chain(&mut waiting) {
        gate.open.notify_one();
        let answer = client.read_to_close().await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn while_the_server_drains_each_answer_is_the_last_of_its_connection() {
    let server = Running::draining(Duration::from_secs(3600), config(), make_sync(|_| "hello")).await;
    let mut before = server.connect().await;
    before.get("/").await;
    assert!(!before.read_to("hello").await.contains("connection: close"));
    server.ask_to_stop().await;
    server.drains().await;
    let mut new = server.connect().await;
    for client in [&mut before, &mut new] {
        client.get("/").await;
        assert!(client.read_to_close().await.contains("connection: close\r\n"));
    }
    server.ask_to_stop().await;
    server.stopped().await;
}

#[tokio::test]
async fn half_a_header_does_not_hold_up_the_end() {
    let server = Running::with_grace(Duration::from_secs(3600), config(), make_sync(|_| "hello")).await;
    let mut client = server.connect().await;
    client.send("GET / HT").await;
    client.stays_silent_for(SHORT).await;
    server.ask_to_stop().await;
    // The header's own time-out is an hour here, and the grace longer than this test waits.
    server.stopped().await;
}

#[tokio::test]
async fn what_is_stuck_is_dropped_after_the_grace() {
    let stuck = make(|_| pending::<Response>());
    let server = Running::with_grace(SHORT, config(), stuck).await;
    let mut client = server.connect().await;
    client.get("/").await;
    client.stays_silent_for(super::A_MOMENT).await;
    server.ask_to_stop().await;
    client.is_dropped().await;
    server.stopped().await;
}

#[tokio::test]
async fn a_second_request_to_stop_does_not_wait_for_the_grace() {
    let (gate, endpoint) = gate();
    let server = Running::with_grace(Duration::from_secs(3600), config(), endpoint).await;
    let mut client = server.connect().await;
    client.get("/").await;
    gate.entered.notified().await;
    server.ask_to_stop().await;
    refuses_connections(&server).await;
    server.ask_to_stop().await;
    client.is_dropped().await;
    server.stopped().await;
}

#[tokio::test]
async fn a_full_house_can_be_closed() {
    let config = super::Config { max_connections: 1, ..config() };
    let server = Running::new(config, make_sync(|_| "hello")).await;
    let mut only = server.connect().await;
    only.get("/").await;
    only.read_to("hello").await;
    server.ask_to_stop().await;
    assert_eq!(only.read_to_close().await, "");
    server.stopped().await;
}
