//! Compressed bodies: gzip and deflate (RFC 9110, 8.4.1; deflate is the zlib format), bounded when they are inflated.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use poem::http::HeaderValue;

use crate::error::Code;
use crate::failure::Failure;

/// Shorter answers are not worth the work.
const WORTH_IT: usize = 1 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    /// What the `Content-Encoding` headers say.
    pub(super) fn of_body<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> Result<Option<Self>, Failure> {
        let mut headers = headers.into_iter().map(|value| value.to_str().unwrap_or("?").trim());
        let name = headers.next().unwrap_or_default();
        match (Self::named(name), headers.next()) {
            (Some(encoding), None) => Ok(Some(encoding)),
            (None, None) if name.is_empty() || name.eq_ignore_ascii_case("identity") => Ok(None),
            _ => Err(Failure::new(Code::ContentType, "of content encodings, one of gzip and deflate is served")),
        }
    }

    fn named(name: &str) -> Option<Self> {
        let is = |known| name.eq_ignore_ascii_case(known);
        (is("gzip") || is("x-gzip")).then_some(Self::Gzip).or_else(|| is("deflate").then_some(Self::Deflate))
    }

    /// The one of ours that `Accept-Encoding` weighs most, unless it wants none of them more than no encoding.
    pub(super) fn accepted(header: Option<&str>) -> Option<Self> {
        let entries = header?.split(',').map(|entry| {
            let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            (name.trim(), weight(parameters))
        });
        let plain = entries.clone().find(|(name, _)| name.eq_ignore_ascii_case("identity")).map_or(0.0, |(_, w)| w);
        let ours = entries.filter_map(|(name, weight)| Some((Self::named(name)?, weight)));
        // Of equal weights the first.
        let best = ours.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.filter(|(_, weight)| *weight > 0.0 && *weight >= plain).map(|(encoding, _)| encoding)
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
        let most = max_bytes as u64 + 1;
        let outcome = match self {
            Self::Gzip => MultiGzDecoder::new(body).take(most).read_to_end(&mut inflated),
            Self::Deflate => {
                let mut decoder = ZlibDecoder::new(body);
                let outcome = decoder.by_ref().take(most).read_to_end(&mut inflated);
                // Unlike the other it does not mind what is behind the end.
                let whole = decoder.total_in() == body.len() as u64;
                outcome.and_then(|read| if whole { Ok(read) } else { Err(std::io::ErrorKind::InvalidData.into()) })
            }
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

/// The weight in an entry's parameters: 1 where there is none, nothing where it is none.
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
    fn what_goes_in_comes_out_and_no_more_than_is_allowed() {
        let text = "tensor ".repeat(1000);
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let small = encoding.deflate(text.as_bytes()).unwrap();
            assert!(small.len() < text.len() / 10);
            assert_eq!(encoding.inflate(&small, text.len()).unwrap(), text);
            assert_eq!(encoding.inflate(&small, text.len() - 1).unwrap_err().code, Code::BodyTooLarge);
            assert_eq!(encoding.inflate(&small[..small.len() / 2], 1 << 20).unwrap_err().code, Code::Malformed);
            let more = [&small[..], b"junk"].concat();
            assert_eq!(encoding.inflate(&more, 1 << 20).unwrap_err().code, Code::Malformed);
            assert_eq!(encoding.inflate(b"plain", 1 << 20).unwrap_err().code, Code::Malformed);
            assert_eq!(encoding.deflate(b"short"), None);
        }
    }

    #[test]
    fn the_headers_are_understood() {
        let accepted = |header| Encoding::accepted(Some(header));
        assert_eq!(accepted("br, gzip, deflate"), Some(Encoding::Gzip));
        assert_eq!(accepted("gzip;q=0, deflate"), Some(Encoding::Deflate));
        assert_eq!(accepted("gzip;q=0.1, deflate;q=0.9"), Some(Encoding::Deflate));
        for none in
            ["identity", "gzip;Q=0", "gzip; q = 0", "gzip;level=1;q=0", "gzip;q=nan", "gzip;q=0.1, identity;q=1"]
        {
            assert_eq!(accepted(none), None, "{none}");
        }
        let body = |headers: &[&'static [u8]]| {
            let headers: Vec<_> = headers.iter().map(|value| HeaderValue::from_bytes(value).unwrap()).collect();
            Encoding::of_body(&headers).map_err(|failure| failure.code)
        };
        assert_eq!(body(&[b"GZIP"]), Ok(Some(Encoding::Gzip)));
        assert_eq!(body(&[b"x-gzip"]), Ok(Some(Encoding::Gzip)));
        assert_eq!((body(&[]), body(&[b"identity"])), (Ok(None), Ok(None)));
        for refused in [&[&b"br"[..]][..], &[b"gzip", b"identity"], &[b"gzip, deflate"], &[b"\xff"]] {
            assert_eq!(body(refused), Err(Code::ContentType));
        }
    }
}
