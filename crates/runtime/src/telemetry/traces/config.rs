//! Where spans go, and how many: what the operator's words come to.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use ureq::http::{HeaderName, HeaderValue, Uri};

/// Everything about traces that can be configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The collector.
    pub endpoint: Endpoint,
    /// What it wants to be sent with every request, such as a key.
    pub headers: Headers,
    /// The part of traces that are recorded, of those that begin here.
    pub sampling: Ratio,
}

/// Where a collector takes OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// What a collector's address must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be the address of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318, without a name or a password"
)]
pub struct NoEndpoint;

/// Where the OpenTelemetry protocol has traces.
const TRACES: &str = "/v1/traces";

impl Endpoint {
    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    /// It has the port of the same protocol over gRPC, which is not spoken here.
    pub(super) fn looks_like_grpc(&self) -> bool {
        self.0.port_u16() == Some(4317)
    }
}

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    /// `/v1/traces` is added where it does not stand at the end already.
    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let given: Uri = text.parse().map_err(|_| NoEndpoint)?;
        let known = matches!(given.scheme_str(), Some("http" | "https"));
        let authority = given.authority().filter(|authority| known && !authority.as_str().contains('@'));
        let base = given.path().trim_end_matches('/');
        let path = if base.ends_with(TRACES) { base.to_string() } else { format!("{base}{TRACES}") };
        let query = given.query().map_or_else(String::new, |query| format!("?{query}"));
        let (scheme, authority) = given.scheme_str().zip(authority).ok_or(NoEndpoint)?;
        format!("{scheme}://{authority}{path}{query}").parse().map(Self).map_err(|_| NoEndpoint)
    }
}

impl fmt::Display for Endpoint {
    /// Without the query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.0.scheme_str().unwrap_or_default(), self.0.authority());
        write!(f, "{scheme}://{}{}", authority.map_or("", |authority| authority.as_str()), self.0.path())
    }
}

/// Headers for the collector. Their values may be secret, and are shown to nobody.
#[derive(Clone, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

/// What headers must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be names and values with commas, such as 'authorization=Bearer%20KEY,x-scope=a'")]
pub struct NoHeaders;

impl Headers {
    pub(super) fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }
}

impl FromStr for Headers {
    type Err = NoHeaders;

    /// As `OTEL_EXPORTER_OTLP_HEADERS` has them: `name=value,..`, the values percent-encoded.
    fn from_str(text: &str) -> Result<Self, NoHeaders> {
        let one = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let value: Vec<u8> = percent_decode_str(value.trim()).collect();
            Some((name.trim().parse().ok()?, HeaderValue::from_bytes(&value).ok()?))
        };
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(one).collect::<Option<_>>().map(Self).ok_or(NoHeaders)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A part of a whole: 0 is nothing of it, 1 all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

/// What a ratio must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number from 0 to 1")]
pub struct NoRatio;

impl Ratio {
    pub(super) fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Ratio {
    type Err = NoRatio;

    fn from_str(text: &str) -> Result<Self, NoRatio> {
        text.parse().ok().filter(|number| (0.0..=1.0).contains(number)).map(Self).ok_or(NoRatio)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_where_traces_are_taken() {
        for (given, meant) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://api.example/otlp", "https://api.example/otlp/v1/traces"),
            ("https://api.example/otlp/v1/traces", "https://api.example/otlp/v1/traces"),
            ("https://api.example?key=1", "https://api.example/v1/traces?key=1"),
        ] {
            assert_eq!(given.parse::<Endpoint>().unwrap().uri().to_string(), meant);
        }
        for given in
            ["", "collector:4318", "/v1/traces", "grpc://collector:4317", "http://name:word@collector", "http://"]
        {
            assert_eq!(given.parse::<Endpoint>(), Err(NoEndpoint), "{given}");
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let endpoint: Endpoint = "https://api.example/?key=hunter2".parse().unwrap();
        assert_eq!(endpoint.to_string(), "https://api.example/v1/traces");
        let headers: Headers = "authorization=Basic%20hunter2".parse().unwrap();
        assert!(!format!("{headers:?}").contains("hunter2"));
    }

    #[test]
    fn headers_are_read_as_their_variable_has_them() {
        let headers: Headers = " Authorization = Basic%20dTpw , x-scope=a=b,".parse().unwrap();
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(pairs, [("authorization", "Basic dTpw"), ("x-scope", "a=b")]);
        assert!("no value".parse::<Headers>().is_err() && "a b=c".parse::<Headers>().is_err());
        assert!("a=b%0Ac".parse::<Headers>().is_err());
    }

    #[test]
    fn a_ratio_is_a_part_of_a_whole() {
        assert!(["0", "1", "0.25", "1e-3"].iter().all(|text| text.parse::<Ratio>().is_ok()));
        assert!(["-0.1", "1.1", "NaN", "inf", "half", ""].iter().all(|text| text.parse::<Ratio>().is_err()));
    }
}
