//! What `kiln healthcheck` asks, and whom, by the settings that a server has.

use std::net::SocketAddr;
use std::time::Duration;

use super::{ConfigError, Reader, Sources};

/// Whom to ask, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkup {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Whether it speaks TLS.
    pub encrypted: bool,
    /// Whether it is enough that it lives, ready or not.
    pub live: bool,
    /// How long the answer may take, the connection included.
    pub timeout: Duration,
}

impl Checkup {
    /// Of a server with these settings, of which no others are looked at.
    ///
    /// # Errors
    ///
    /// The address does not parse.
    pub fn of(sources: &Sources, live: bool, timeout: Duration) -> Result<Self, ConfigError> {
        let read = Reader(sources);
        let (listen, encrypted) = (read.listen()?, read.text("tls-cert").is_some());
        Ok(Self { listen, encrypted, live, timeout })
    }
}
