//! Encodes protobuf fields (<https://protobuf.dev/programming-guides/encoding>), also those that no exporter writes.
#![allow(dead_code, reason = "each test file uses some of the functions")]

/// A field with bytes, text or a message.
pub fn message(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A field with an integer.
pub fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// Seven bits in a byte, the lowest first; the highest bit is set if more bytes follow.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
