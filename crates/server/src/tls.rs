//! TLS: the certificate with its key, their renewal while the server runs, and the handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, rustls};

use kiln_runtime::file_watcher::Watched;

/// The certificate chain and its key that connections are served with now.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
    /// Made before they were read.
    watched: Watched,
}

/// Why a certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or holds no PEM of that kind.
    #[error("{file}: {reason}. It has to hold {expected} in PEM.")]
    File {
        /// Its path.
        file: String,
        /// What is wrong.
        reason: String,
        /// What belongs into it.
        expected: &'static str,
    },
    /// The two do not belong together, or are of a kind that is not known.
    #[error("certificate {certificate} and key {key} cannot be used: {source}")]
    Pair {
        /// Path of the certificate.
        certificate: String,
        /// Path of the key.
        key: String,
        /// The library's reason.
        source: rustls::Error,
    },
}

impl Tls {
    /// Reads a certificate chain, the server's own certificate first, and its private key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    ///
    /// A file does not hold what it should, or the two do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let watched = Watched::new(vec![certificate.to_path_buf(), key.to_path_buf()]);
        let current = RwLock::new(Arc::new(read(certificate, key)?));
        Ok(Self { certificate: certificate.to_path_buf(), key: key.to_path_buf(), current, watched })
    }

    /// The handshake with one client, which may take `patience`.
    ///
    /// # Errors
    ///
    /// It took longer, or the client wanted something else.
    pub(super) async fn accept(&self, stream: TcpStream, patience: Duration) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        timeout(patience, TlsAcceptor::from(config).accept(stream)).await?
    }

    /// Takes the files again whenever they change. What cannot be used is told and not taken. Never ends.
    pub(super) async fn keep_up(self: Arc<Self>) {
        let mut watched = self.watched.clone();
        loop {
            watched.changed().await;
            self.renew();
        }
    }

    fn renew(&self) {
        match read(&self.certificate, &self.key) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!(certificate = %self.certificate.display(), "the certificate was renewed");
            }
            // Between the two files' renewal they do not fit; the second one's change leads here again.
            Err(error) => tracing::warn!(%error, "the changed certificate is not taken; the last one stays in use"),
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let broken =
        |path: &Path, expected, reason: String| TlsError::File { file: path.display().to_string(), reason, expected };
    let no_chain = |reason| broken(certificate, "a certificate chain", reason);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|e| no_chain(e.to_string()))?;
    if chain.is_empty() {
        return Err(no_chain("no certificate is in it".to_string()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| broken(key, "a private key", e.to_string()))?;
    let unusable = |source| TlsError::Pair {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
