//! An OpenTelemetry collector for tests: accepts OTLP over HTTP on a free port and decodes the spans.
//!
//! The decoder reads the protobuf wire format of an `ExportTraceServiceRequest` and the fields that the tests need.
//! `server/traces/protobuf.rs` checks with the official protobuf classes that both sides follow the format.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than any export takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// One export request.
#[derive(Debug)]
pub struct Export {
    pub path: String,
    /// Header names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Export {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn spans(&self) -> Vec<Span> {
        spans(&self.body)
    }
}

pub struct Collector {
    pub url: String,
    exports: Receiver<Export>,
}

impl Collector {
    /// Starts a collector that accepts every export.
    pub fn new() -> Self {
        Self::answering(&[])
    }

    /// Starts a collector that answers its first exports with `statuses` and accepts all later ones.
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

    /// Waits for one export.
    pub fn export(&self) -> Export {
        self.exports.recv_timeout(TIMEOUT).expect("an export arrives")
    }

    /// Receives exports until `enough` holds for the spans, and returns the spans.
    pub fn spans_until(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        while !enough(&spans) {
            spans.extend(self.export().spans());
        }
        spans
    }

    /// Returns all spans that have arrived. Call it after the server has exited.
    pub fn spans(&self) -> Vec<Span> {
        self.exports.try_iter().flat_map(|export| export.spans()).collect()
    }
}

/// Serves one connection until the client closes it.
fn serve(stream: TcpStream, exports: &Sender<Export>, statuses: &Mutex<Vec<u16>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(export) = read(&mut reader) {
        let status = statuses.lock().unwrap().pop().unwrap_or(200);
        // The export is queued before the answer is sent: a test that sees the answer finds the export.
        let _ = exports.send(export);
        let answer = format!("HTTP/1.1 {status} Test\r\nContent-Length: 0\r\n\r\n");
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

/// The content of a field on the wire.
#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in wire order: field number and content.
struct Message<'a>(Vec<(u64, Content<'a>)>);

impl<'a> Message<'a> {
    fn read(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let content = match tag & 7 {
                0 => Content::Number(varint(&mut bytes)),
                1 => Content::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    Content::Bytes(take(&mut bytes, length))
                }
                5 => Content::Number(u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap()).into()),
                other => panic!("unknown wire type {other}"),
            };
            fields.push((tag >> 3, content));
        }
        Self(fields)
    }

    fn all(&self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(number, _)| *number == field).map(move |(_, content)| match content {
            Content::Bytes(bytes) => *bytes,
            Content::Number(_) => panic!("field {field} is a number"),
        })
    }

    fn bytes(&self, field: u64) -> &'a [u8] {
        self.all(field).last().unwrap_or_default()
    }

    fn text(&self, field: u64) -> String {
        String::from_utf8(self.bytes(field).to_vec()).unwrap()
    }

    fn message(&self, field: u64) -> Message<'a> {
        Message::read(self.bytes(field))
    }

    fn number(&self, field: u64) -> u64 {
        let found = self.0.iter().rfind(|(number, _)| *number == field);
        found.map_or(0, |(_, content)| match content {
            Content::Number(number) => *number,
            Content::Bytes(_) => panic!("field {field} is not a number"),
        })
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

pub type Attributes = BTreeMap<String, String>;

/// Trace id and span id in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ids {
    pub trace: String,
    pub span: String,
}

#[derive(Clone, Debug)]
pub struct Span {
    pub resource: Attributes,
    pub scope: String,
    pub ids: Ids,
    pub state: String,
    /// Span id of the parent; empty for a root span.
    pub parent: String,
    pub name: String,
    pub kind: u64,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    pub attributes: Attributes,
    pub links: Vec<Ids>,
    pub status: u64,
    pub flags: u64,
}

impl Span {
    pub fn number(&self, attribute: &str) -> u64 {
        self.attributes[attribute].parse().unwrap_or_else(|_| panic!("{attribute} of {self:#?}"))
    }
}

/// Decodes all spans of an `ExportTraceServiceRequest`.
pub fn spans(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in Message::read(body).all(1).map(Message::read) {
        let resource = attributes(&resource_spans.message(1), 1);
        for scope_spans in resource_spans.all(2).map(Message::read) {
            let scope = scope_spans.message(1).text(1);
            spans.extend(scope_spans.all(2).map(|bytes| span(&Message::read(bytes), &resource, &scope)));
        }
    }
    spans
}

fn span(message: &Message<'_>, resource: &Attributes, scope: &str) -> Span {
    Span {
        resource: resource.clone(),
        scope: scope.to_string(),
        ids: ids(message),
        state: message.text(3),
        parent: hex(message.bytes(4)),
        name: message.text(5),
        kind: message.number(6),
        start: message.number(7),
        end: message.number(8),
        attributes: attributes(message, 9),
        links: message.all(13).map(|link| ids(&Message::read(link))).collect(),
        status: message.message(15).number(3),
        flags: message.number(16),
    }
}

fn ids(message: &Message<'_>) -> Ids {
    Ids { trace: hex(message.bytes(1)), span: hex(message.bytes(2)) }
}

/// Reads attributes; integer values become strings.
fn attributes(message: &Message<'_>, field: u64) -> Attributes {
    let pair = |bytes| {
        let pair = Message::read(bytes);
        let value = pair.message(2);
        let text = match value.0.first() {
            Some((1, _)) => value.text(1),
            Some((3, _)) => value.number(3).to_string(),
            other => panic!("unsupported attribute value: {other:?}"),
        };
        (pair.text(1), text)
    };
    message.all(field).map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
