//! One connection that sends pictures one after the other, and what the server says of each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::super::connection::{self, Connection, post, unknown};

/// A request that was answered; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// As the client saw it.
    pub(super) total_ms: f64,
    /// As the server says.
    pub(super) decode_ms: f64,
    pub(super) queue_ms: f64,
    pub(super) inference_ms: f64,
}

/// Sends pictures from the `first` on, around and around, until `end`; at least one.
pub(super) async fn send(
    address: SocketAddr,
    key: String,
    files: Arc<[Bytes]>,
    first: usize,
    end: Instant,
) -> io::Result<Vec<Answered>> {
    let (mut connection, mut answers) = (Connection::open(address).await?, Vec::new());
    for file in files.iter().cycle().skip(first % files.len()) {
        let request = post("/predict/raw", &key, "", file);
        let started = Instant::now();
        let answer = connection.exchange(&request).await?;
        answers.push(answered(answer, started.elapsed().as_secs_f64() * 1e3)?);
        if Instant::now() >= end {
            break;
        }
    }
    Ok(answers)
}

fn answered(answer: connection::Answered<'_>, total_ms: f64) -> io::Result<Answered> {
    let body: serde_json::Value = serde_json::from_slice(answer.body).map_err(|_| unknown())?;
    // A refusal has no timings.
    let phase = |name: &str| body["timings_ms"][name].as_f64().unwrap_or_default();
    let decode_ms = phase("decode") + phase("preprocess");
    let queue_ms = phase("queue") + phase("batch_wait");
    let inference_ms = phase("device");
    Ok(Answered { status: answer.status, total_ms, decode_ms, queue_ms, inference_ms })
}
