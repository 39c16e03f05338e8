//! Where a request comes from, behind proxies too.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use poem::Request;
use poem::http::header::{FORWARDED, HeaderMap, HeaderName};

/// Which proxies are believed, and where they write whom they speak for.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Networks of proxies.
    pub trusted: Vec<IpNet>,
    /// The header that they write.
    pub header: ForwardedHeader,
}

/// A header that tells whom a proxy speaks for. One of the two, for a proxy that writes one hands on the other as the client
/// wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, as nearly all proxies write it.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl FromStr for ForwardedHeader {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err(()),
        }
    }
}

impl Peers {
    /// The address that the request comes from: that of the connection, or if that is a trusted proxy, the last one before
    /// it that is none. Nothing that stands before that in the header is believed, since anybody can write it.
    pub(super) fn address(&self, request: &Request) -> Option<IpAddr> {
        let connection = request.remote_addr().as_socket_addr()?.ip().to_canonical();
        Some(self.behind(connection, request.headers()))
    }

    fn behind(&self, connection: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = connection;
        for hop in self.hops(headers).rev() {
            if !self.trusts(nearest) {
                break;
            }
            // A proxy that hides whom it speaks for is all that is known.
            let Some(address) = hop else { break };
            nearest = address;
        }
        nearest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The addresses that the header names, in the order in which the request came by.
    fn hops(&self, headers: &HeaderMap) -> impl DoubleEndedIterator<Item = Option<IpAddr>> {
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            ForwardedHeader::XForwardedFor => (HeaderName::from_static("x-forwarded-for"), address),
            ForwardedHeader::Forwarded => (FORWARDED, forwarded_for),
        };
        let lines = headers.get_all(name).iter().map(|line| line.as_bytes());
        // Each element by itself: what a client wrote before must not spoil what the proxy added.
        let elements = lines.flat_map(|line| line.split(|byte| *byte == b','));
        elements.map(move |element| std::str::from_utf8(element).ok().and_then(read))
    }
}

/// The `for` of one element (RFC 7239, 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(node.trim_matches('"'))
}

/// An address with or without a port, version 6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    bare.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn seen(header: ForwardedHeader, connection: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        for name in ["forwarded", "x-forwarded-for"] {
            for line in lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
        }
        Peers { trusted, header }.behind(connection.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let by = |connection, lines| seen(ForwardedHeader::XForwardedFor, connection, lines);
        assert_eq!(by("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "no proxy wrote that");
        assert_eq!(by("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(by("10.0.0.1", &["1.2.3.4, 198.51.100.7, 10.9.9.9"]), "198.51.100.7");
        assert_eq!(by("10.0.0.1", &["1.2.3.4", "198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(by("2001:db8::1", &["2001:4860::8"]), "2001:4860::8");
        assert_eq!(by("10.0.0.1", &["1.2.3.4, rubbish"]), "10.0.0.1");
        assert_eq!(by("10.0.0.1", &["\u{fc}, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(by("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_standards_header_is_read_where_it_is_the_one() {
        let by = |lines| seen(ForwardedHeader::Forwarded, "10.0.0.1", lines);
        assert_eq!(by(&["for=192.0.2.60;proto=http;by=203.0.113.43"]), "192.0.2.60");
        assert_eq!(by(&["For=\"[2001:4860:cafe::17]:4711\", for=10.1.1.1"]), "2001:4860:cafe::17");
        assert_eq!(by(&["for=1.2.3.4, for=unknown"]), "10.0.0.1");
        assert_eq!(seen(ForwardedHeader::XForwardedFor, "10.0.0.1", &["for=192.0.2.60"]), "10.0.0.1");
    }
}
