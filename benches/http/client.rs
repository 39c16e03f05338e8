//! A load of HTTP/1.1 connections that each send the same request again as soon as it is answered. It is written in bytes,
//! since it runs on the cores that it measures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A request's bytes.
pub fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nX-API-Key: {KEY}\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
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
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    let (mut answered, mut buffer) = (0, Vec::new());
    // At least once, however short the time.
    loop {
        stream.write_all(&request).await.expect("the server reads");
        let length = loop {
            if let Some(length) = whole(&buffer) {
                break length;
            }
            let read = stream.read_buf(&mut buffer).await.expect("the server answers");
            assert!(read > 0, "the server closed the connection");
        };
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer));
        buffer.drain(..length);
        answered += 1;
        if Instant::now() >= end {
            return answered;
        }
    }
}

/// The length of the answer at the start of the buffer, if all of it is there.
fn whole(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).expect("a head of text").to_ascii_lowercase();
    let (_, rest) = text.split_once("content-length: ").expect("a length");
    let body: usize = rest.split("\r\n").next()?.parse().expect("a number");
    (buffer.len() >= head + body).then_some(head + body)
}
