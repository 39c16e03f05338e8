//! `kiln healthcheck`: asks the server of this machine how it is, for containers, which have no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use ureq::Agent;
use ureq::tls::TlsConfig;

use crate::config::Checkup;

/// Why the server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Nobody could know where to ask.
    #[error("--listen has port 0, so nobody knows where the server is; name the port that it has")]
    AnyPort,
    /// It does not answer.
    #[error("{address} does not answer: {reason}")]
    Silent {
        /// Where it was asked.
        address: String,
        /// What the connection said.
        reason: String,
    },
    /// It says so itself.
    #[error("{address} answers {status}: {said}")]
    NotWell {
        /// Where it was asked.
        address: String,
        /// The answer's status.
        status: u16,
        /// The answer.
        said: String,
    },
}

/// Asks once, without a key.
///
/// # Errors
///
/// Any answer but 200, or none in time.
pub fn healthcheck(checkup: Checkup) -> Result<(), Unhealthy> {
    let address = url(&checkup)?;
    // The name in a certificate is never this machine's inner address, and nothing secret is sent.
    let tls = TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .timeout_global(Some(checkup.timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None);
    let agent: Agent = config.build().into();
    let silent = |error: ureq::Error| Unhealthy::Silent { address: address.clone(), reason: error.to_string() };
    let mut answer = agent.get(&address).header("Connection", "close").call().map_err(silent)?;
    let status = answer.status().as_u16();
    if status == 200 {
        return Ok(());
    }
    // As little as fits a line.
    let said = answer.body_mut().with_config().limit(1 << 10).read_to_string().unwrap_or_default();
    Err(Unhealthy::NotWell { address, status, said: said.trim().to_string() })
}

fn url(checkup: &Checkup) -> Result<String, Unhealthy> {
    let ip = match checkup.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if checkup.encrypted { "https" } else { "http" };
    let path = if checkup.live { "/health/live" } else { "/health/ready" };
    match checkup.listen.port() {
        0 => Err(Unhealthy::AnyPort),
        port => Ok(format!("{scheme}://{}{path}", SocketAddr::new(ip, port))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_at_home() {
        let asked = |listen: &str, encrypted, live| {
            let timeout = Duration::from_secs(1);
            url(&Checkup { listen: listen.parse().unwrap(), encrypted, live, timeout }).map_err(|e| e.to_string())
        };
        assert_eq!(asked("0.0.0.0:80", false, false).unwrap(), "http://127.0.0.1:80/health/ready");
        assert_eq!(asked("[::]:80", true, true).unwrap(), "https://[::1]:80/health/live");
        assert_eq!(asked("10.0.0.7:8080", false, true).unwrap(), "http://10.0.0.7:8080/health/live");
        assert!(asked("127.0.0.1:0", false, false).unwrap_err().contains("--listen has port 0"));
    }
}
