//! The segments of a JPEG file and the markers between them (ITU-T T.81, B.1.1).

pub(super) const START_OF_SCAN: u8 = 0xda;
pub(super) const RESTART_INTERVAL: u8 = 0xdd;

/// A marker and its position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marker {
    /// The second byte.
    pub(super) code: u8,
    /// Position of the first byte, or of the first fill byte.
    pub(super) start: usize,
    /// Position behind the marker.
    pub(super) end: usize,
}

impl Marker {
    /// Whether the marker is the end of the image.
    pub(super) fn is_end(self) -> bool {
        self.code == 0xd9
    }

    /// Whether the marker has no segment: TEM, RSTn and SOI.
    pub(super) fn is_alone(self) -> bool {
        matches!(self.code, 0x01 | 0xd0..=0xd8)
    }

    pub(super) fn is_any_restart(self) -> bool {
        matches!(self.code, 0xd0..=0xd7)
    }

    /// Whether the marker is the restart marker of this index. They are numbered modulo 8.
    pub(super) fn is_restart(self, index: usize) -> bool {
        usize::from(self.code) == 0xd0 + index % 8
    }
}

/// Returns the next marker from `position` on. Like decoders, it skips entropy-coded data and unknown bytes.
pub(super) fn next_marker(bytes: &[u8], mut position: usize) -> Option<Marker> {
    loop {
        let start = position + memchr::memchr(0xff, bytes.get(position..)?)?;
        let end = start + bytes[start..].iter().position(|byte| *byte != 0xff)? + 1;
        let code = bytes[end - 1];
        if code != 0 {
            return Some(Marker { code, start, end });
        }
        position = end;
    }
}

/// Returns the content of the segment whose length is at `position`.
pub(super) fn segment(bytes: &[u8], position: usize) -> Option<&[u8]> {
    let rest = bytes.get(position..)?;
    rest.get(..u16::from_be_bytes(*rest.first_chunk()?).into())?.get(2..)
}
