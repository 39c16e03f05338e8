//! What an operator can set about the accept loop, with its defaults and ranges.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::ServeError;

/// The least that hyper accepts as the size of its buffer for a header.
const MIN_HEADER_BYTES: usize = 8 * 1024;
/// Far above any header, far below what an HTTP/2 setting can hold (32 bits).
const MAX_HEADER_BYTES: usize = 16 * 1024 * 1024;

/// Settings of the accept loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The address to listen on; port 0 lets the operating system choose one.
    pub listen: SocketAddr,
    /// How long a client may take from its connection to the end of its first request header, and
    /// from the first byte of each later header to its end. 10 s by default.
    pub header_read_timeout: Duration,
    /// The longest pause between two pieces of a request body. 30 s by default.
    pub body_timeout: Duration,
    /// Bytes a second of a request body that have to come on the whole, once `body_timeout` is over; 1 or more. 1 KiB by
    /// default.
    pub min_body_rate: usize,
    /// How long a connection is kept without a request in progress and without a byte of an
    /// answer moving. 75 s by default.
    pub idle_timeout: Duration,
    /// The most connections open at once, 1 or more. 4096 by default.
    pub max_connections: usize,
    /// The longest request header in bytes, 8 KiB to 16 MiB. 64 KiB by default. Also the longest
    /// piece in which an HTTP/1 body is read.
    pub max_header_bytes: usize,
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

impl Config {
    pub(super) fn check(&self) -> Result<(), ServeError> {
        check_count("max_connections", self.max_connections, 1, Semaphore::MAX_PERMITS)?;
        check_count("min_body_rate", self.min_body_rate, 1, 1 << 30)?;
        check_count("max_header_bytes", self.max_header_bytes, MIN_HEADER_BYTES, MAX_HEADER_BYTES)?;
        check_pause("header_read_timeout", self.header_read_timeout)?;
        check_pause("body_timeout", self.body_timeout)?;
        check_pause("idle_timeout", self.idle_timeout)
    }
}

fn check_count(setting: &'static str, value: usize, least: usize, most: usize) -> Result<(), ServeError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let problem = format!("is {value}; it has to be from {least} to {most}");
    Err(ServeError::Setting { setting, problem })
}

/// A time-out of zero would refuse everybody, and one of years only hides a wrong unit.
fn check_pause(setting: &'static str, value: Duration) -> Result<(), ServeError> {
    const MOST: Duration = Duration::from_secs(24 * 60 * 60);
    if !value.is_zero() && value <= MOST {
        return Ok(());
    }
    let problem = format!("is {value:?}; it has to be more than 0 and at most a day");
    Err(ServeError::Setting { setting, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        Config::default().check().unwrap();
    }

    #[test]
    fn what_would_refuse_everybody_is_refused_with_its_name() {
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
