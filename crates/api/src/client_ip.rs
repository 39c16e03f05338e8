//! The IP address of the client, also behind trusted proxies.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use poem::Request;
use poem::http::header::{FORWARDED, HeaderMap, HeaderName};

/// The trusted proxies, and the header in which they forward the client's address.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// Networks of the proxies.
    pub networks: Vec<IpNet>,
    /// The header that the proxies write.
    pub header: ForwardedHeader,
}

/// The header with the client's address. Only one header is read: a proxy that writes one of them passes the other on as the
/// client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, as nearly all proxies write it.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Reports a header name that is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header must be x-forwarded-for or forwarded")]
pub struct UnknownForwardedHeader;

impl FromStr for ForwardedHeader {
    type Err = UnknownForwardedHeader;

    fn from_str(name: &str) -> Result<Self, UnknownForwardedHeader> {
        match name.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err(UnknownForwardedHeader),
        }
    }
}

impl TrustedProxies {
    /// Returns the address of the client: the last address that is not a trusted proxy, starting from the connection and going
    /// back through the header. Earlier addresses in the header are ignored, because the client can forge them.
    pub(super) fn client_ip(&self, request: &Request) -> Option<IpAddr> {
        let connection = request.remote_addr().as_socket_addr()?.ip().to_canonical();
        Some(self.resolve(connection, request.headers()))
    }

    fn resolve(&self, connection: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = connection;
        for hop in self.hops(headers).rev() {
            if !self.is_trusted(nearest) {
                break;
            }
            // The element holds no address, so the proxy that wrote it is the last known address.
            let Some(address) = hop else { break };
            nearest = address;
        }
        nearest
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Parses the addresses in the header, in the order in which the request passed them.
    fn hops(&self, headers: &HeaderMap) -> impl DoubleEndedIterator<Item = Option<IpAddr>> {
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            ForwardedHeader::XForwardedFor => (HeaderName::from_static("x-forwarded-for"), parse_address),
            ForwardedHeader::Forwarded => (FORWARDED, parse_forwarded_for),
        };
        let lines = headers.get_all(name).iter().map(|line| line.as_bytes());
        // Each element is parsed on its own, so that bytes of the client cannot invalidate the element that the proxy appended.
        let elements = lines.flat_map(|line| line.split(|byte| *byte == b','));
        elements.map(move |element| std::str::from_utf8(element).ok().and_then(read))
    }
}

/// Parses the `for` parameter of one element (RFC 7239, section 4).
fn parse_forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    parse_address(node.trim_matches('"'))
}

/// Parses an address with or without a port; an IPv6 address with or without brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
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

    fn client_ip(header: ForwardedHeader, connection: &str, lines: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        for name in ["forwarded", "x-forwarded-for"] {
            for line in lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
        }
        TrustedProxies { networks, header }.resolve(connection.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_addresses_from_trusted_proxies_are_used() {
        let by = |connection, lines| client_ip(ForwardedHeader::XForwardedFor, connection, lines);
        assert_eq!(by("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "the connection is not a trusted proxy");
        assert_eq!(by("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(by("10.0.0.1", &["1.2.3.4, 198.51.100.7, 10.9.9.9"]), "198.51.100.7");
        assert_eq!(by("10.0.0.1", &["1.2.3.4", "198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(by("2001:db8::1", &["2001:4860::8"]), "2001:4860::8");
        assert_eq!(by("10.0.0.1", &["1.2.3.4, rubbish"]), "10.0.0.1");
        assert_eq!(by("10.0.0.1", &["\u{fc}, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(by("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn forwarded_header_is_read_only_if_it_is_selected() {
        let by = |lines| client_ip(ForwardedHeader::Forwarded, "10.0.0.1", lines);
        assert_eq!(by(&["for=192.0.2.60;proto=http;by=203.0.113.43"]), "192.0.2.60");
        assert_eq!(by(&["For=\"[2001:4860:cafe::17]:4711\", for=10.1.1.1"]), "2001:4860:cafe::17");
        assert_eq!(by(&["for=1.2.3.4, for=unknown"]), "10.0.0.1");
        assert_eq!(client_ip(ForwardedHeader::XForwardedFor, "10.0.0.1", &["for=192.0.2.60"]), "10.0.0.1");
    }
}
