//! One connection that sends pictures one after the other. HTTP/1.1 in so few bytes, since it runs on the cores that it
//! measures.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut answers, mut buffer) = (Vec::new(), Vec::new());
    for file in files.iter().cycle().skip(first % files.len()) {
        let head = format!(
            "POST /predict/raw HTTP/1.1\r\nHost: bench\r\nX-API-Key: {key}\r\nContent-Length: {}\r\n\r\n",
            file.len()
        );
        let started = Instant::now();
        stream.write_all(&[head.as_bytes(), file].concat()).await?;
        let (head, whole) = loop {
            if let Some(lengths) = whole(&buffer)? {
                break lengths;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        };
        let total_ms = started.elapsed().as_secs_f64() * 1e3;
        answers.push(answered(&buffer[..head], &buffer[head..whole], total_ms)?);
        buffer.drain(..whole);
        if Instant::now() >= end {
            break;
        }
    }
    Ok(answers)
}

/// The lengths of the head and of the whole answer, if all of it is there.
fn whole(buffer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|place| place + 4) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&buffer[..head]).map_err(|_| unknown())?.to_ascii_lowercase();
    let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    let body: usize = length.and_then(|text| text.parse().ok()).ok_or_else(unknown)?;
    Ok((buffer.len() >= head + body).then_some((head, head + body)))
}

fn answered(head: &[u8], body: &[u8], total_ms: f64) -> io::Result<Answered> {
    let status = head.get(9..12).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).ok_or_else(unknown)?;
    let body: serde_json::Value = serde_json::from_slice(body).map_err(|_| unknown())?;
    // A refusal has no timings.
    let phase = |name: &str| body["timings_ms"][name].as_f64().unwrap_or_default();
    let [decode_ms, queue_ms, inference_ms] = ["decode", "queue", "inference"].map(phase);
    Ok(Answered { status, total_ms, decode_ms, queue_ms, inference_ms })
}

fn unknown() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server's answer is not understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_whole_or_not_at_all() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n{\"timings_ms\":{\"decode\":1.5}}     HTTP/1.1 429";
        assert!(matches!(whole(&text[..text.len() - 20]), Ok(None)));
        let (head, end) = whole(text).unwrap().unwrap();
        assert_eq!(&text[end..], b"HTTP/1.1 429");
        let answer = answered(&text[..head], &text[head..end], 3.0).unwrap();
        assert_eq!((answer.status, answer.decode_ms, answer.queue_ms), (200, 1.5, 0.0));
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
