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

use kiln_runtime::blocking::run_blocking;
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
    pub async fn watch(self: Arc<Self>) {
        let mut watcher = self.watcher.clone();
        loop {
            watcher.changed().await;
            self.reload_on_thread().await;
        }
    }

    /// Reloads the files on a blocking thread, since reading from a network file system may take long.
    async fn reload_on_thread(self: &Arc<Self>) {
        let this = Arc::clone(self);
        run_blocking(move || this.reload()).await;
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

#[cfg(all(test, unix))]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::Instant;

    use tokio::sync::oneshot;

    use super::*;
    use crate::tests::{TestServer, config};

    /// The runtime has one async thread. The certificate is a pipe, which the reload reads until the test closes it.
    #[tokio::test]
    async fn slow_certificate_file_does_not_delay_requests() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("certificate"), folder.path().join("key"));
        assert!(Command::new("mkfifo").arg(&certificate).status().unwrap().success());
        let watcher = FileWatcher::new(Vec::new());
        let current = ArcSwap::from_pointee(
            ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new())),
        );
        let tls = Arc::new(Tls { certificate: certificate.clone(), key, current, watcher });
        let server = TestServer::new(config(), poem::endpoint::make_sync(|_| "hello")).await;
        let (gate, opened) = mpsc::channel::<()>();
        let (reads, is_reading) = oneshot::channel();
        let writer = std::thread::spawn(move || {
            // Opening a pipe waits for its reader.
            let mut pipe = OpenOptions::new().write(true).open(certificate).unwrap();
            reads.send(()).unwrap();
            // A test that fails does not hang: it opens the gate by dropping the sender, or the time is over.
            let _ = opened.recv_timeout(Duration::from_secs(20));
            pipe.write_all(b"no certificate").unwrap();
        });
        let reload = tokio::spawn(async move { tls.reload_on_thread().await });
        is_reading.await.unwrap();
        let mut client = server.connect().await;
        let mut fastest = Duration::MAX;
        for _ in 0..10 {
            let started = Instant::now();
            client.get("/health/live").await;
            client.read_to("hello").await;
            fastest = fastest.min(started.elapsed());
        }
        assert!(!reload.is_finished(), "the certificate was read before the requests were answered");
        assert!(fastest < Duration::from_millis(50), "{fastest:?}");
        drop(gate);
        reload.await.unwrap();
        writer.join().unwrap();
    }
}
