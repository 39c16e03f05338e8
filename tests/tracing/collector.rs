//! A collector: takes OTLP over HTTP on a free port, and hands on what it was sent.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::otlp::{self, Span};

/// Longer than any export on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// One request that it was sent.
#[derive(Debug)]
pub struct Export {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Export {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn spans(&self) -> Vec<Span> {
        otlp::spans(&self.body)
    }
}

pub struct Collector {
    pub url: String,
    exports: Receiver<Export>,
}

impl Collector {
    /// One that takes everything.
    pub fn new() -> Self {
        Self::answering(&[])
    }

    /// One that answers so at first, and takes everything then.
    pub fn answering(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let statuses: Arc<Mutex<Vec<u16>>> = Arc::new(Mutex::new(statuses.iter().rev().copied().collect()));
        let (sender, exports) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (sender, statuses) = (sender.clone(), Arc::clone(&statuses));
                std::thread::spawn(move || serve(stream.unwrap(), &sender, &statuses));
            }
        });
        Self { url, exports }
    }

    /// Waits for one request.
    pub fn export(&self) -> Export {
        self.exports.recv_timeout(PATIENCE).expect("spans are sent")
    }

    /// Waits until what has come is enough, and gives it back.
    pub fn spans_until(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        while !enough(&spans) {
            spans.extend(self.export().spans());
        }
        spans
    }

    /// All that have come by now: to be asked when the server has ended.
    pub fn spans(&self) -> Vec<Span> {
        self.exports.try_iter().flat_map(|export| export.spans()).collect()
    }
}

/// One connection, until its end.
fn serve(stream: TcpStream, exports: &Sender<Export>, statuses: &Mutex<Vec<u16>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(export) = read(&mut reader) {
        let status = statuses.lock().unwrap().pop().unwrap_or(200);
        // Whoever asks for what has come finds it before the server knows that it has.
        let _ = exports.send(export);
        let answer = format!("HTTP/1.1 {status} Said So\r\nContent-Length: 0\r\n\r\n");
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Export> {
    let mut lines = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let path = lines.next()?.split(' ').nth(1)?.to_string();
    let pair = |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_string()));
    let headers: Vec<_> = lines.filter_map(pair).collect();
    let mut export = Export { path, headers, body: Vec::new() };
    let length: usize = export.header("content-length")?.parse().ok()?;
    export.body.resize(length, 0);
    reader.read_exact(&mut export.body).ok()?;
    Some(export)
}
