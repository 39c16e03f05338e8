//! HTTP/2 with prior knowledge, with hyper's client.

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

use super::{OBSERVATION_TIME, SHORT_TIMEOUT, TEST_TIMEOUT, TestServer, config};
use crate::Config;
use crate::connection::MAX_STREAMS;

type Sender = SendRequest<Empty<Bytes>>;

async fn connect(server: &TestServer) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

/// Sends a request and returns the text of the response.
async fn get(sender: &mut Sender) -> String {
    let request = Request::get("http://test/").body(Empty::new()).unwrap();
    let response = timeout(TEST_TIMEOUT, sender.send_request(request)).await;
    let response = response.expect("no response").unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Checks that the connection ends without an error on the client side.
async fn expect_clean_close(connection: JoinHandle<hyper::Result<()>>) {
    let end = timeout(TEST_TIMEOUT, connection).await;
    end.expect("the server keeps the connection").unwrap().unwrap();
}

#[tokio::test]
async fn requests_are_answered_and_idle_connection_is_closed() {
    let config = Config { idle_timeout: 2 * SHORT_TIMEOUT, ..config() };
    let server = TestServer::new(config, make_sync(|_| "hello")).await;
    let (mut sender, connection) = connect(&server).await;
    assert_eq!(get(&mut sender).await, "hello");
    assert_eq!(get(&mut sender).await, "hello");
    expect_clean_close(connection).await;
}

#[tokio::test]
async fn pings_do_not_extend_the_idle_time() {
    let config = Config { idle_timeout: 3 * SHORT_TIMEOUT, ..config() };
    let server = TestServer::new(config, make_sync(|_| "hello")).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(SHORT_TIMEOUT / 4).keep_alive_while_idle(true);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(get(&mut sender).await, "hello");
    expect_clean_close(connection).await;
}

#[tokio::test]
async fn request_in_flight_is_answered_when_the_server_closes() {
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
    let server = TestServer::new(config(), endpoint).await;
    let (mut sender, connection) = connect(&server).await;
    let response = tokio::spawn(async move { get(&mut sender).await });
    entered.notified().await;
    server.request_shutdown().await;
    open.notify_one();
    assert_eq!(response.await.unwrap(), "hello");
    expect_clean_close(connection).await;
    server.wait_until_stopped().await;
}

#[tokio::test]
async fn panic_fails_only_its_own_request() {
    let fragile = make_sync(|request| {
        assert_ne!(request.method().as_str(), "DELETE", "the test requests this panic");
        "hello"
    });
    let server = TestServer::new(config(), fragile).await;
    let (mut sender, _connection) = connect(&server).await;
    let request = Request::delete("http://test/").body(Empty::new()).unwrap();
    let lost = timeout(TEST_TIMEOUT, sender.send_request(request)).await;
    lost.expect("the client still waits").unwrap_err();
    assert_eq!(get(&mut sender).await, "hello");
}

#[tokio::test]
async fn concurrent_requests_of_a_connection_are_limited() {
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
    let server = TestServer::new(config(), endpoint).await;
    let (mut sender, _connection) = connect(&server).await;
    // The client knows the limits of the server after the first response.
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
        timeout(TEST_TIMEOUT, entered.recv()).await.expect("a request is missing").unwrap();
    }
    assert!(timeout(OBSERVATION_TIME, entered.recv()).await.is_err(), "too many requests entered the endpoint");
    open.add_permits(requests);
    for response in answers {
        assert_eq!(response.await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn draining_server_answers_requests_and_closes_connections() {
    let server = TestServer::with_drain_delay(Duration::from_secs(3600), config(), make_sync(|_| "hello")).await;
    let (mut used, first) = connect(&server).await;
    assert_eq!(get(&mut used).await, "hello");
    server.request_shutdown().await;
    expect_clean_close(first).await;
    // A new connection gets one response and is closed too.
    let (mut new, second) = connect(&server).await;
    assert_eq!(get(&mut new).await, "hello");
    expect_clean_close(second).await;
    server.request_shutdown().await;
    server.wait_until_stopped().await;
}
