//! A load of HTTP/1.1 connections that each send the same request again as soon as it is answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kiln::app::{Connection, post};
use tokio::task::JoinSet;

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A request's bytes.
pub fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    post(path, KEY, headers, body)
}

/// What the body of a request ends in that is another one each time: bytes behind a picture's end, which nobody looks at.
pub const COUNTED: usize = 8;

/// What was answered in some time.
pub struct Answered {
    pub requests: usize,
    pub took: Duration,
}

impl Answered {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }
}

/// Requests a second on so many connections, over that time.
pub fn rate(address: SocketAddr, connections: usize, time: Duration, request: &[u8]) -> f64 {
    load(address, connections, time, request, None).per_second()
}

/// Loads it with requests that nobody has sent before: a number takes the place of the last [`COUNTED`] bytes.
pub fn load_of_new(address: SocketAddr, connections: usize, time: Duration, request: &[u8]) -> Answered {
    static SENT: AtomicU64 = AtomicU64::new(0);
    load(address, connections, time, request, Some(&SENT))
}

fn load(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    request: &[u8],
    counter: Option<&'static AtomicU64>,
) -> Answered {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let begun = Instant::now();
    let requests = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            clients.spawn(one(address, begun + time, request.to_vec(), counter));
        }
        clients.join_all().await.into_iter().sum()
    });
    Answered { requests, took: begun.elapsed() }
}

async fn one(address: SocketAddr, end: Instant, mut request: Vec<u8>, counter: Option<&'static AtomicU64>) -> usize {
    let mut connection = Connection::open(address).await.expect("the server listens");
    let mut answered = 0;
    // At least once, however short the time.
    loop {
        if let Some(counter) = counter {
            let number = counter.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            let end = request.len() - COUNTED;
            request[end..].copy_from_slice(&number);
        }
        let answer = connection.exchange(&request).await.expect("the server answers");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(answer.body));
        answered += 1;
        if Instant::now() >= end {
            return answered;
        }
    }
}
