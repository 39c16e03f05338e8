//! A load of HTTP/1.1 connections that each send the same request again as soon as it is answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kiln::app::{Connection, post};
use tokio::task::JoinSet;

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A request's bytes.
pub fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    post(path, KEY, headers, body)
}

/// Requests a second on so many connections, over that time.
pub fn rate(address: SocketAddr, connections: usize, time: Duration, request: &[u8]) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let (begun, request) = (Instant::now(), std::sync::Arc::<[u8]>::from(request));
    let answered: usize = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            clients.spawn(one(address, begun + time, request.clone()));
        }
        clients.join_all().await.into_iter().sum()
    });
    answered as f64 / begun.elapsed().as_secs_f64()
}

async fn one(address: SocketAddr, end: Instant, request: std::sync::Arc<[u8]>) -> usize {
    let mut connection = Connection::open(address).await.expect("the server listens");
    let mut answered = 0;
    // At least once, however short the time.
    loop {
        let answer = connection.exchange(&request).await.expect("the server answers");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(answer.body));
        answered += 1;
        if Instant::now() >= end {
            return answered;
        }
    }
}
