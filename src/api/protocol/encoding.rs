//! Compressed bodies: gzip and deflate (RFC 9110, 8.4.1; deflate is the zlib format), bounded when they are inflated.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::api::error::Code;
use crate::api::failure::Failure;

/// Shorter answers are not worth the work.
const WORTH_IT: usize = 1 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    /// What `Content-Encoding` says.
    pub(super) fn of_body(header: Option<&str>) -> Result<Option<Self>, Failure> {
        match header.map(str::trim) {
            None | Some("" | "identity") => Ok(None),
            Some(name) if name.eq_ignore_ascii_case("gzip") => Ok(Some(Self::Gzip)),
            Some(name) if name.eq_ignore_ascii_case("deflate") => Ok(Some(Self::Deflate)),
            Some(name) => {
                let name: String = name.chars().take(40).collect();
                let message = format!("content encoding '{name}' is not served; gzip and deflate are");
                Err(Failure::new(Code::ContentType, message))
            }
        }
    }

    /// The first of ours that `Accept-Encoding` names, unless with a weight of nothing.
    pub(super) fn accepted(header: Option<&str>) -> Option<Self> {
        header?.split(',').find_map(|entry| {
            let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), |weight| weight.trim().parse::<f32>());
            match name.trim() {
                _ if weight.is_ok_and(|weight| weight <= 0.0) => None,
                name if name.eq_ignore_ascii_case("gzip") => Some(Self::Gzip),
                name if name.eq_ignore_ascii_case("deflate") => Some(Self::Deflate),
                _ => None,
            }
        })
    }

    /// Its name in HTTP.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Inflates at most `max_bytes`.
    pub(super) fn inflate(self, body: &[u8], max_bytes: usize) -> Result<Bytes, Failure> {
        let mut inflated = Vec::new();
        let read = |decoder: &mut dyn Read, into: &mut Vec<u8>| decoder.take(max_bytes as u64 + 1).read_to_end(into);
        let outcome = match self {
            Self::Gzip => read(&mut MultiGzDecoder::new(body), &mut inflated),
            Self::Deflate => read(&mut ZlibDecoder::new(body), &mut inflated),
        };
        if inflated.len() > max_bytes {
            return Err(Failure::new(
                Code::BodyTooLarge,
                format!("the inflated body is larger than {max_bytes} bytes"),
            ));
        }
        let broken = |_| Failure::new(Code::Malformed, format!("the body is not what {} makes", self.name()));
        outcome.map_err(broken)?;
        Ok(inflated.into())
    }

    /// Deflates, or gives nothing where that is not worth the work.
    pub(super) fn deflate(self, body: &[u8]) -> Option<Bytes> {
        if body.len() < WORTH_IT {
            return None;
        }
        let level = Compression::fast();
        let written = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
        };
        written.ok().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_no_more_than_is_allowed() {
        let text = "tensor ".repeat(1000);
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let small = encoding.deflate(text.as_bytes()).unwrap();
            assert!(small.len() < text.len() / 10);
            assert_eq!(encoding.inflate(&small, text.len()).unwrap(), text);
            assert_eq!(encoding.inflate(&small, text.len() - 1).unwrap_err().code, Code::BodyTooLarge);
            assert_eq!(encoding.inflate(&small[..small.len() / 2], 1 << 20).unwrap_err().code, Code::Malformed);
            assert_eq!(encoding.inflate(b"plain", 1 << 20).unwrap_err().code, Code::Malformed);
            assert_eq!(encoding.deflate(b"short"), None);
        }
    }

    #[test]
    fn the_headers_are_understood() {
        let accepted = |header| Encoding::accepted(Some(header));
        assert_eq!(accepted("br, gzip;q=0.5, deflate"), Some(Encoding::Gzip));
        assert_eq!(accepted("gzip;q=0, deflate"), Some(Encoding::Deflate));
        assert_eq!(accepted("identity"), None);
        assert_eq!(Encoding::of_body(Some("GZIP")).unwrap(), Some(Encoding::Gzip));
        assert_eq!(Encoding::of_body(None).unwrap(), None);
        assert_eq!(Encoding::of_body(Some("br")).unwrap_err().code, Code::ContentType);
    }
}
