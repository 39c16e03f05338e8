//! A picture as it was sent. By itself, so that the fuzzer can build what takes it without the rest of the room.

use bytes::Bytes;

/// A picture as it was sent.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The encoded file.
    pub bytes: Bytes,
    /// Its name, if it came with one. Only its extension matters.
    pub file_name: Option<String>,
}
