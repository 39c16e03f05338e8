//! TLS: the certificate and its key, their reload while the server runs, and the handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, rustls};

use kiln_runtime::file_watcher::FileWatcher;

/// The current certificate chain and its private key.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
    /// Created before the files were read, so that no change is missed.
    watcher: FileWatcher,
}

/// Why a certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or does not contain the expected PEM.
    #[error("{file}: {reason}. The file must contain {expected} in PEM.")]
    File {
        /// Path of the file.
        file: String,
        /// Reason of the failure.
        reason: String,
        /// Expected content.
        expected: &'static str,
    },
    /// The certificate and the key do not match, or their type is not supported.
    #[error("certificate {certificate} and key {key} cannot be used: {source}")]
    Pair {
        /// Path of the certificate.
        certificate: String,
        /// Path of the key.
        key: String,
        /// Error of the TLS library.
        source: rustls::Error,
    },
}

impl Tls {
    /// Loads a certificate chain, which begins with the server's own certificate, and its private key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// # Errors
    ///
    /// Returns an error if a file does not contain the expected PEM, or if the certificate and the key do not match.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let watcher = FileWatcher::new(vec![certificate.to_path_buf(), key.to_path_buf()]);
        let current = ArcSwap::from_pointee(read(certificate, key)?);
        Ok(Self { certificate: certificate.to_path_buf(), key: key.to_path_buf(), current, watcher })
    }

    /// Performs the handshake with one client.
    ///
    /// # Errors
    ///
    /// Returns an error if the handshake fails, or takes longer than `handshake_timeout`.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        handshake_timeout: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = self.current.load_full();
        timeout(handshake_timeout, TlsAcceptor::from(config).accept(stream)).await?
    }

    /// Reloads the files when they change. If the new files cannot be used, logs the error and keeps the previous certificate.
    /// Never returns.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut watcher = self.watcher.clone();
        loop {
            watcher.changed().await;
            self.reload();
        }
    }

    fn reload(&self) {
        match read(&self.certificate, &self.key) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(certificate = %self.certificate.display(), "reloaded the TLS certificate");
            }
            // The certificate and the key do not match between their two renewals. The second change causes another reload.
            Err(error) => tracing::warn!(%error, "cannot reload the TLS certificate; the previous one stays in use"),
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let file_error =
        |path: &Path, expected, reason: String| TlsError::File { file: path.display().to_string(), reason, expected };
    let chain_error = |reason| file_error(certificate, "a certificate chain", reason);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| chain_error(error.to_string()))?;
    if chain.is_empty() {
        return Err(chain_error("it contains no certificate".to_string()));
    }
    let private_key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| file_error(key, "a private key", error.to_string()))?;
    let pair_error = |source| TlsError::Pair {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair_error)?
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .map_err(pair_error)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
