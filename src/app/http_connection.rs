//! A minimal HTTP/1.1 client connection for load generators. It does as little work as possible per request, since it
//! runs on the CPU cores that it measures; a general client such as `ureq` or `hyper` would take a larger part of them.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A persistent connection.
#[derive(Debug)]
pub struct HttpConnection {
    stream: TcpStream,
    /// Received bytes. The last response stays at the start until the next request.
    buffer: Vec<u8>,
    /// Length of the last response in `buffer`.
    response_bytes: usize,
}

/// A response.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// Status code.
    pub status: u16,
    /// Status line and headers.
    pub head: &'a [u8],
    /// Body.
    pub body: &'a [u8],
}

impl HttpConnection {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection fails.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), response_bytes: 0 })
    }

    /// Sends the bytes of a request and waits for the complete response, which must have a `Content-Length`.
    ///
    /// # Errors
    ///
    /// Returns an error if the server closes the connection, or if the response has no status or no `Content-Length`.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Response<'_>> {
        self.buffer.drain(..self.response_bytes);
        self.stream.write_all(request).await?;
        let (head, total) = loop {
            if let Some(lengths) = lengths(&self.buffer)? {
                break lengths;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        };
        self.response_bytes = total;
        let status = self.buffer.get(9..12).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        Ok(Response {
            status: status.ok_or_else(invalid_response)?,
            head: &self.buffer[..head],
            body: &self.buffer[head..total],
        })
    }
}

/// Returns the bytes of a `POST` request with an API key. `headers` is empty or ends with a line break.
pub fn post_request(path: &str, key: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {key}\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Returns the length of the head and of the whole response, or `None` if the response is not complete.
fn lengths(buffer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(head) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|position| position + 4) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&buffer[..head]).map_err(|_| invalid_response())?.to_ascii_lowercase();
    let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    let body: usize = length.and_then(|text| text.parse().ok()).ok_or_else(invalid_response)?;
    Ok((buffer.len() >= head + body).then_some((head, head + body)))
}

/// Returns the error for a response that cannot be parsed.
pub(super) fn invalid_response() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "invalid HTTP response from the server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_response_is_not_returned() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 429";
        assert!(matches!(lengths(&text[..text.len() - 13]), Ok(None)));
        let (head, total) = lengths(text).unwrap().unwrap();
        assert_eq!((&text[head..total], &text[total..]), (&b"body"[..], &b"HTTP/1.1 429"[..]));
        assert!(lengths(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
