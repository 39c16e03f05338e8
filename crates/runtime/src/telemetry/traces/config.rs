//! Settings of traces: the collector's endpoint, its headers, and the sampling ratio.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use ureq::http::{HeaderName, HeaderValue, Uri};

/// The settings of traces.
#[derive(Clone, Debug)]
pub struct Config {
    /// The collector.
    pub endpoint: Endpoint,
    /// Headers of every request to the collector, such as an API key.
    pub headers: Headers,
    /// The fraction of the traces that begin here which is recorded.
    pub sampling: Ratio,
}

/// The address at which a collector accepts traces with OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// The error for an invalid collector address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be the address of a collector that accepts OTLP over HTTP, such as http://127.0.0.1:4318, without a user name or password"
)]
pub struct InvalidEndpoint;

/// The path of traces in the OpenTelemetry protocol.
const TRACES_PATH: &str = "/v1/traces";

impl Endpoint {
    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    /// Returns whether the port is that of OTLP over gRPC, which Kiln does not support.
    pub(super) fn looks_like_grpc(&self) -> bool {
        self.0.port_u16() == Some(4317)
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    /// Appends `/v1/traces` unless the path ends with it.
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let uri: Uri = text.parse().map_err(|_| InvalidEndpoint)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().filter(|authority| is_http && !authority.as_str().contains('@'));
        let base = uri.path().trim_end_matches('/');
        let path = if base.ends_with(TRACES_PATH) { base.to_string() } else { format!("{base}{TRACES_PATH}") };
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let (scheme, authority) = uri.scheme_str().zip(authority).ok_or(InvalidEndpoint)?;
        format!("{scheme}://{authority}{path}{query}").parse().map(Self).map_err(|_| InvalidEndpoint)
    }
}

impl fmt::Display for Endpoint {
    /// Omits the query, which may contain a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.0.scheme_str().unwrap_or_default(), self.0.authority());
        write!(f, "{scheme}://{}{}", authority.map_or("", |authority| authority.as_str()), self.0.path())
    }
}

/// Headers for the collector. `Debug` omits the values, which may be secret.
#[derive(Clone, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

/// The error for invalid headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 'name=value' pairs separated by commas, such as 'authorization=Bearer%20KEY,x-scope=a'")]
pub struct InvalidHeaders;

impl Headers {
    pub(super) fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }
}

impl FromStr for Headers {
    type Err = InvalidHeaders;

    /// Parses the format of `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,..` with percent-encoded values.
    fn from_str(text: &str) -> Result<Self, InvalidHeaders> {
        let header = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let value: Vec<u8> = percent_decode_str(value.trim()).collect();
            Some((name.trim().parse().ok()?, HeaderValue::from_bytes(&value).ok()?))
        };
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(header).collect::<Option<_>>().map(Self).ok_or(InvalidHeaders)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

/// The error for an invalid ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number from 0 to 1")]
pub struct InvalidRatio;

impl Ratio {
    pub(super) fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Ratio {
    type Err = InvalidRatio;

    fn from_str(text: &str) -> Result<Self, InvalidRatio> {
        text.parse().ok().filter(|number| (0.0..=1.0).contains(number)).map(Self).ok_or(InvalidRatio)
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
    fn endpoint_is_completed_with_the_path_of_traces() {
        for (text, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://api.example/otlp", "https://api.example/otlp/v1/traces"),
            ("https://api.example/otlp/v1/traces", "https://api.example/otlp/v1/traces"),
            ("https://api.example?key=1", "https://api.example/v1/traces?key=1"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().uri().to_string(), expected);
        }
        for text in
            ["", "collector:4318", "/v1/traces", "grpc://collector:4317", "http://name:word@collector", "http://"]
        {
            assert_eq!(text.parse::<Endpoint>(), Err(InvalidEndpoint), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_displayed() {
        let endpoint: Endpoint = "https://api.example/?key=hunter2".parse().unwrap();
        assert_eq!(endpoint.to_string(), "https://api.example/v1/traces");
        let headers: Headers = "authorization=Basic%20hunter2".parse().unwrap();
        assert!(!format!("{headers:?}").contains("hunter2"));
    }

    #[test]
    fn headers_are_parsed_as_opentelemetry_defines_them() {
        let headers: Headers = " Authorization = Basic%20dTpw , x-scope=a=b,".parse().unwrap();
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(pairs, [("authorization", "Basic dTpw"), ("x-scope", "a=b")]);
        assert!("no value".parse::<Headers>().is_err() && "a b=c".parse::<Headers>().is_err());
        assert!("a=b%0Ac".parse::<Headers>().is_err());
    }

    #[test]
    fn ratio_must_be_between_zero_and_one() {
        assert!(["0", "1", "0.25", "1e-3"].iter().all(|text| text.parse::<Ratio>().is_ok()));
        assert!(["-0.1", "1.1", "NaN", "inf", "half", ""].iter().all(|text| text.parse::<Ratio>().is_err()));
    }
}
