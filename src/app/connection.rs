//! One HTTP/1.1 connection of a load generator: a request's bytes out, an answer in. In so few steps because it runs on the
//! cores that it measures.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that is kept.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What came in; the last answer is at its start until the next is asked for.
    buffer: Vec<u8>,
    answered: usize,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Its status.
    pub status: u16,
    /// Status line and headers.
    pub head: &'a [u8],
    /// The rest.
    pub body: &'a [u8],
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), answered: 0 })
    }

    /// Sends a whole request and waits for the whole answer, which has to tell its length.
    ///
    /// # Errors
    ///
    /// The connection ended, or the answer is no such one.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answered<'_>> {
        self.buffer.drain(..self.answered);
        self.stream.write_all(request).await?;
        let (head, whole) = loop {
            if let Some(lengths) = lengths(&self.buffer)? {
                break lengths;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        };
        self.answered = whole;
        let status = self.buffer.get(9..12).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        Ok(Answered {
            status: status.ok_or_else(unknown)?,
            head: &self.buffer[..head],
            body: &self.buffer[head..whole],
        })
    }
}

/// The bytes of a `POST` with a key.
pub fn post(path: &str, key: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {key}\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The lengths of the head and of the whole answer, if all of it is there.
fn lengths(buffer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|place| place + 4) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&buffer[..head]).map_err(|_| unknown())?.to_ascii_lowercase();
    let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    let body: usize = length.and_then(|text| text.parse().ok()).ok_or_else(unknown)?;
    Ok((buffer.len() >= head + body).then_some((head, head + body)))
}

/// The answer is none that is understood here.
pub(super) fn unknown() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server's answer is not understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_whole_or_not_at_all() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 429";
        assert!(matches!(lengths(&text[..text.len() - 13]), Ok(None)));
        let (head, whole) = lengths(text).unwrap().unwrap();
        assert_eq!((&text[head..whole], &text[whole..]), (&b"body"[..], &b"HTTP/1.1 429"[..]));
        assert!(lengths(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
