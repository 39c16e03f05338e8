//! Reads an `ExportTraceServiceRequest`: the wire format first, then the fields that the tests ask for. Whether both
//! sides of Kiln's own understand the format as everybody does is judged in `judge.rs`.

use std::collections::BTreeMap;

/// A field's content on the wire.
#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// A message's fields, in the order in which they stand.
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
                other => panic!("there is no wire type {other}"),
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
            Content::Bytes(_) => panic!("field {field} is no number"),
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

/// Trace and span, in hexadecimal digits.
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
    /// Empty where it has none.
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

/// All spans of a request.
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

/// Numbers become texts.
fn attributes(message: &Message<'_>, field: u64) -> Attributes {
    let pair = |bytes| {
        let pair = Message::read(bytes);
        let value = pair.message(2);
        let text = match value.0.first() {
            Some((1, _)) => value.text(1),
            Some((3, _)) => value.number(3).to_string(),
            other => panic!("a value of another kind: {other:?}"),
        };
        (pair.text(1), text)
    };
    message.all(field).map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
