//! The HTTP client for Kiln's own requests: key sets, trace export and health checks.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

/// How the client verifies the certificate of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateVerification {
    /// Trusts the certificates of the operating system, which include those of an organisation.
    Platform,
    /// Accepts every certificate. For requests that contain no secret and stay on this machine.
    Disabled,
}

/// Returns the configuration of a client that uses TLS with ring, as the server does, and follows no redirects.
pub fn agent_config(verification: CertificateVerification) -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .disable_verification(verification == CertificateVerification::Disabled)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
    Agent::config_builder().tls_config(tls.build()).max_redirects(0)
}
