//! HTTP/2 by prior knowledge, through hyper's own client.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use poem::endpoint::{make, make_sync};
use poem::http::{Request, Version};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::Config;
use super::super::connection::MAX_STREAMS;
use super::{A_MOMENT, PATIENCE, Running, SHORT, config};

type Sender = SendRequest<Empty<Bytes>>;

async fn connect(server: &Running) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

/// Sends a request and returns the whole answer's text.
async fn get(sender: &mut Sender) -> String {
    let request = Request::get("http://test/").body(Empty::new()).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await;
    let response = response.expect("no answer").unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The server says goodbye; the client sees the end of its connection, not an error.
async fn ends_well(connection: JoinHandle<hyper::Result<()>>) {
    let end = timeout(PATIENCE, connection).await;
    end.expect("the server keeps the connection").unwrap().unwrap();
}

#[tokio::test]
async fn requests_are_answered_and_an_idle_connection_is_closed() {
    let config = Config { idle_timeout: 2 * SHORT, ..config() };
    let server = Running::new(config, make_sync(|_| "hello")).await;
    let (mut sender, connection) = connect(&server).await;
    assert_eq!(get(&mut sender).await, "hello");
    assert_eq!(get(&mut sender).await, "hello");
    ends_well(connection).await;
}

#[tokio::test]
async fn pings_do_not_make_a_connection_a_used_one() {
    let config = Config { idle_timeout: 3 * SHORT, ..config() };
    let server = Running::new(config, make_sync(|_| "hello")).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(SHORT / 4).keep_alive_while_idle(true);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(get(&mut sender).await, "hello");
    ends_well(connection).await;
}

#[tokio::test]
async fn what_is_in_flight_is_answered_when_the_server_closes() {
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, opened) = (Arc::clone(&entered), Arc::clone(&open));
    let endpoint = make(move |_| {
        let (enter, opened) = (Arc::clone(&enter), Arc::clone(&opened));
        async move {
            enter.notify_one();
            opened.notified().await;
            "hello"
        }
    });
    let server = Running::new(config(), endpoint).await;
    let (mut sender, connection) = connect(&server).await;
    let answer = tokio::spawn(async move { get(&mut sender).await });
    entered.notified().await;
    server.ask_to_stop().await;
    open.notify_one();
    assert_eq!(answer.await.unwrap(), "hello");
    ends_well(connection).await;
    server.stopped().await;
}

#[tokio::test]
async fn a_panic_costs_its_own_request_only() {
    let fragile = make_sync(|request| {
        assert_ne!(request.method().as_str(), "DELETE", "as the test wants");
        "hello"
    });
    let server = Running::new(config(), fragile).await;
    let (mut sender, _connection) = connect(&server).await;
    let request = Request::delete("http://test/").body(Empty::new()).unwrap();
    let lost = timeout(PATIENCE, sender.send_request(request)).await;
    lost.expect("the client is left waiting").unwrap_err();
    assert_eq!(get(&mut sender).await, "hello");
}

#[tokio::test]
async fn a_connection_has_a_bounded_number_of_requests_in_flight() {
    let (enter, mut entered) = mpsc::unbounded_channel();
    let open = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&open);
    let endpoint = make(move |request| {
        let (enter, opened) = (enter.clone(), Arc::clone(&opened));
        async move {
            if request.uri().path() != "/first" {
                enter.send(()).unwrap();
                opened.acquire().await.unwrap().forget();
            }
            "hello"
        }
    });
    let server = Running::new(config(), endpoint).await;
    let (mut sender, _connection) = connect(&server).await;
    // With its answer the client has learnt the server's limits.
    let first = sender.send_request(Request::get("http://test/first").body(Empty::new()).unwrap()).await;
    first.unwrap().into_body().collect().await.unwrap();
    let requests = MAX_STREAMS as usize + 4;
    let answers: Vec<_> = (0..requests)
        .map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(async move { get(&mut sender).await })
        })
        .collect();
    for _ in 0..MAX_STREAMS {
        timeout(PATIENCE, entered.recv()).await.expect("a request is missing").unwrap();
    }
    assert!(timeout(A_MOMENT, entered.recv()).await.is_err(), "more came in than may");
    open.add_permits(requests);
    for answer in answers {
        assert_eq!(answer.await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn while_the_server_drains_clients_are_sent_away_and_what_they_asked_for_is_answered() {
    let server = Running::draining(Duration::from_secs(3600), config(), make_sync(|_| "hello")).await;
    let (mut used, first) = connect(&server).await;
    assert_eq!(get(&mut used).await, "hello");
    server.ask_to_stop().await;
    ends_well(first).await;
    // Who comes now is served once, and sent away too.
    let (mut new, second) = connect(&server).await;
    assert_eq!(get(&mut new).await, "hello");
    ends_well(second).await;
    server.ask_to_stop().await;
    server.stopped().await;
}
