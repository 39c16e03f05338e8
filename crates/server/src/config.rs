//! Settings of the HTTP server with their defaults and ranges, and the errors of starting it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::Semaphore;

/// Minimum size of hyper's buffer for a request head.
const MIN_HEADER_BYTES: usize = 8 * 1024;
/// Far above the size of any request head, and far below the maximum of an HTTP/2 setting (32 bits).
const MAX_HEADER_BYTES: usize = 16 * 1024 * 1024;
/// A longer timeout is most likely a wrong unit.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Settings of the HTTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address to listen on. With port 0, the operating system chooses a free port.
    pub listen: SocketAddr,
    /// Maximum time from the connection to the end of the first request head, and from the first byte of each later request
    /// head to its end. Default: 10 s.
    pub header_read_timeout: Duration,
    /// Maximum pause between two pieces of a request body. Default: 30 s.
    pub body_timeout: Duration,
    /// Minimum average rate of a request body in bytes per second, applied after `body_timeout`; 1 or more. Default: 1 KiB.
    pub min_body_rate: usize,
    /// Maximum time that a connection stays open without a request in progress and without a byte of a response written.
    /// Default: 75 s.
    pub idle_timeout: Duration,
    /// Maximum number of open connections, 1 or more. Default: 4096.
    pub max_connections: usize,
    /// Maximum size of a request head in bytes, 8 KiB to 16 MiB. Default: 64 KiB. Also the maximum size of one read of an
    /// HTTP/1 body.
    pub max_header_bytes: usize,
}

/// Why the server cannot start or continue. A client cannot cause any of these errors.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A setting is out of range.
    #[error("{setting} {problem}")]
    Setting {
        /// The field of [`Config`].
        setting: &'static str,
        /// The value and the allowed range.
        problem: String,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {advice}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// The cause and its remedy.
        advice: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The listening socket is broken and accepts no further connection.
    #[error("the listening socket is broken; restart the server")]
    Accept(#[source] io::Error),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            header_read_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            min_body_rate: 1024,
            idle_timeout: Duration::from_secs(75),
            max_connections: 4096,
            max_header_bytes: 64 * 1024,
        }
    }
}

/// Returns an address at which a client on this machine reaches a server that listens on `listen`: the loopback address, if the
/// server listens on all addresses.
pub fn connectable_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

impl Config {
    /// Checks the ranges of all settings.
    pub(super) fn check(&self) -> Result<(), ServerError> {
        check_count("max_connections", self.max_connections, 1, Semaphore::MAX_PERMITS)?;
        check_count("min_body_rate", self.min_body_rate, 1, 1 << 30)?;
        check_count("max_header_bytes", self.max_header_bytes, MIN_HEADER_BYTES, MAX_HEADER_BYTES)?;
        check_timeout("header_read_timeout", self.header_read_timeout)?;
        check_timeout("body_timeout", self.body_timeout)?;
        check_timeout("idle_timeout", self.idle_timeout)
    }
}

fn check_count(setting: &'static str, value: usize, min: usize, max: usize) -> Result<(), ServerError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let problem = format!("is {value}; it must be from {min} to {max}");
    Err(ServerError::Setting { setting, problem })
}

fn check_timeout(setting: &'static str, value: Duration) -> Result<(), ServerError> {
    // A timeout of zero would refuse every client.
    if !value.is_zero() && value <= MAX_TIMEOUT {
        return Ok(());
    }
    let problem = format!("is {value:?}; it must be more than 0 and at most a day");
    Err(ServerError::Setting { setting, problem })
}

impl ServerError {
    /// Returns the error for an address that cannot be bound, with advice for the cause.
    pub fn bind(address: SocketAddr, source: io::Error) -> Self {
        let advice = match source.kind() {
            ErrorKind::AddrInUse => "another program already listens there; stop it or choose another port",
            ErrorKind::PermissionDenied => "this user may not use that port; choose one from 1024 upwards",
            ErrorKind::AddrNotAvailable => {
                "this machine does not have that address; 0.0.0.0 or [::] means all of its addresses"
            }
            _ => "the operating system refuses it; its reason follows",
        };
        Self::Bind { address, advice, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range() {
        Config::default().check().unwrap();
    }

    #[test]
    fn server_on_all_addresses_is_reached_on_the_loopback_address() {
        let connectable = |listen: &str| connectable_address(listen.parse().unwrap()).to_string();
        assert_eq!(connectable("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(connectable("[::]:80"), "[::1]:80");
        assert_eq!(connectable("10.0.0.7:8080"), "10.0.0.7:8080");
    }

    #[test]
    fn out_of_range_setting_is_refused_by_name() {
        let cases = [
            ("max_connections", Config { max_connections: 0, ..Config::default() }),
            ("max_header_bytes", Config { max_header_bytes: 100, ..Config::default() }),
            ("header_read_timeout", Config { header_read_timeout: Duration::ZERO, ..Config::default() }),
            ("body_timeout", Config { body_timeout: Duration::MAX, ..Config::default() }),
        ];
        for (setting, config) in cases {
            let message = config.check().unwrap_err().to_string();
            assert!(message.starts_with(setting), "{message}");
        }
    }
}
