//! Content encodings of bodies: gzip and deflate (RFC 9110, section 8.4.1; deflate is the zlib format). Inflation is bounded.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use poem::http::HeaderValue;

use crate::error::{ApiError, ErrorCode};

/// Minimum size of a response in bytes for compression to pay off.
const MIN_COMPRESSED_BYTES: usize = 1 << 10;

/// A supported content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentEncoding {
    Gzip,
    Deflate,
}

impl ContentEncoding {
    /// Parses the `Content-Encoding` headers of a request; `None` means that the body is not compressed.
    pub(super) fn of_body<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> Result<Option<Self>, ApiError> {
        let mut headers = headers.into_iter().map(|value| value.to_str().unwrap_or("?").trim());
        let name = headers.next().unwrap_or_default();
        match (Self::parse(name), headers.next()) {
            (Some(encoding), None) => Ok(Some(encoding)),
            (None, None) if name.is_empty() || name.eq_ignore_ascii_case("identity") => Ok(None),
            _ => Err(ApiError::new(
                ErrorCode::UnsupportedContentType,
                "the content encoding is not supported; use one of gzip and deflate",
            )),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let is = |known| name.eq_ignore_ascii_case(known);
        (is("gzip") || is("x-gzip")).then_some(Self::Gzip).or_else(|| is("deflate").then_some(Self::Deflate))
    }

    /// Returns the supported encoding with the highest weight in `Accept-Encoding`; `None` if the client prefers no encoding.
    pub(super) fn negotiate(header: Option<&str>) -> Option<Self> {
        let entries = header?.split(',').map(|entry| {
            let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            (name.trim(), weight(parameters))
        });
        let identity = entries.clone().find(|(name, _)| name.eq_ignore_ascii_case("identity")).map_or(0.0, |(_, w)| w);
        let supported = entries.filter_map(|(name, weight)| Some((Self::parse(name)?, weight)));
        // The first of equal weights wins.
        let best = supported.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.filter(|(_, weight)| *weight > 0.0 && *weight >= identity).map(|(encoding, _)| encoding)
    }

    /// Returns the name in HTTP.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Inflates a body to at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// The inflated body is larger, or the body is not valid in this encoding.
    pub(super) fn inflate(self, body: &[u8], max_bytes: usize) -> Result<Bytes, ApiError> {
        let mut inflated = Vec::new();
        let read_limit = max_bytes as u64 + 1;
        let outcome = match self {
            Self::Gzip => MultiGzDecoder::new(body).take(read_limit).read_to_end(&mut inflated),
            Self::Deflate => {
                let mut decoder = ZlibDecoder::new(body);
                let outcome = decoder.by_ref().take(read_limit).read_to_end(&mut inflated);
                // Unlike the gzip decoder, the zlib decoder ignores bytes after the end.
                let whole = decoder.total_in() == body.len() as u64;
                outcome.and_then(|read| if whole { Ok(read) } else { Err(std::io::ErrorKind::InvalidData.into()) })
            }
        };
        if inflated.len() > max_bytes {
            return Err(ApiError::new(
                ErrorCode::BodyTooLarge,
                format!("the inflated body is larger than {max_bytes} bytes"),
            ));
        }
        outcome.map_err(|_| ApiError::malformed(format!("the body is not valid {}", self.as_str())))?;
        Ok(inflated.into())
    }

    /// Compresses a body; `None` if the body is too short to benefit.
    pub(super) fn deflate(self, body: &[u8]) -> Option<Bytes> {
        if body.len() < MIN_COMPRESSED_BYTES {
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

/// Returns the weight `q` in the parameters of an entry: 1 if it is absent, 0 if it is not a number.
fn weight(parameters: &str) -> f32 {
    let split = |parameter: &str| {
        parameter.split_once('=').map(|(name, value)| (name.trim().to_string(), value.trim().parse()))
    };
    let weight = parameters.split(';').filter_map(split).find(|(name, _)| name.eq_ignore_ascii_case("q"));
    weight.map_or(1.0, |(_, weight)| weight.ok().filter(|weight: &f32| weight.is_finite()).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_round_trip_and_inflation_is_bounded() {
        let text = "tensor ".repeat(1000);
        for encoding in [ContentEncoding::Gzip, ContentEncoding::Deflate] {
            let small = encoding.deflate(text.as_bytes()).unwrap();
            assert!(small.len() < text.len() / 10);
            assert_eq!(encoding.inflate(&small, text.len()).unwrap(), text);
            assert_eq!(encoding.inflate(&small, text.len() - 1).unwrap_err().code, ErrorCode::BodyTooLarge);
            assert_eq!(encoding.inflate(&small[..small.len() / 2], 1 << 20).unwrap_err().code, ErrorCode::Malformed);
            let more = [&small[..], b"junk"].concat();
            assert_eq!(encoding.inflate(&more, 1 << 20).unwrap_err().code, ErrorCode::Malformed);
            assert_eq!(encoding.inflate(b"plain", 1 << 20).unwrap_err().code, ErrorCode::Malformed);
            assert_eq!(encoding.deflate(b"short"), None);
        }
    }

    #[test]
    fn encoding_headers_are_parsed() {
        let accepted = |header| ContentEncoding::negotiate(Some(header));
        assert_eq!(accepted("br, gzip, deflate"), Some(ContentEncoding::Gzip));
        assert_eq!(accepted("gzip;q=0, deflate"), Some(ContentEncoding::Deflate));
        assert_eq!(accepted("gzip;q=0.1, deflate;q=0.9"), Some(ContentEncoding::Deflate));
        for none in
            ["identity", "gzip;Q=0", "gzip; q = 0", "gzip;level=1;q=0", "gzip;q=nan", "gzip;q=0.1, identity;q=1"]
        {
            assert_eq!(accepted(none), None, "{none}");
        }
        let body = |headers: &[&'static [u8]]| {
            let headers: Vec<_> = headers.iter().map(|value| HeaderValue::from_bytes(value).unwrap()).collect();
            ContentEncoding::of_body(&headers).map_err(|error| error.code)
        };
        assert_eq!(body(&[b"GZIP"]), Ok(Some(ContentEncoding::Gzip)));
        assert_eq!(body(&[b"x-gzip"]), Ok(Some(ContentEncoding::Gzip)));
        assert_eq!((body(&[]), body(&[b"identity"])), (Ok(None), Ok(None)));
        for refused in [&[&b"br"[..]][..], &[b"gzip", b"identity"], &[b"gzip, deflate"], &[b"\xff"]] {
            assert_eq!(body(refused), Err(ErrorCode::UnsupportedContentType));
        }
    }
}
