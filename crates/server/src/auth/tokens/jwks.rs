//! The provider's public keys (JSON Web Key Set, RFC 7517): loaded from a file or a URL, and kept up to date.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;
use ureq::Agent;
use ureq::http::Uri;

use crate::auth::config::JwksSource;
use kiln_runtime::file_watcher::FileWatcher;
use kiln_runtime::http_client::{CertificateVerification, agent_config};

/// Interval between two fetches. Providers publish a key long before they use it.
const FETCH_INTERVAL: Duration = Duration::from_secs(300);
/// Minimum interval between two fetches that tokens with an unknown key cause.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(10);
/// Timeout of a fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of requests that wait for a fetch. Further requests are verified with the known keys.
const MAX_WAITING_REQUESTS: usize = 32;
/// Maximum size of a key set in bytes, far above the size of any real one.
const MAX_KEY_SET_BYTES: u64 = 1 << 20;

/// The algorithms of RSA keys. The first one is for keys that declare none.
const RSA_ALGORITHMS: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// Why a key set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key set {location} cannot be used: {reason}")]
pub struct JwksError {
    location: String,
    reason: String,
}

/// The current key set of the provider.
#[derive(Debug)]
pub(super) struct KeySet {
    source: JwksSource,
    keys: ArcSwap<Vec<VerificationKey>>,
    /// Created before the file was read, so that no change is missed. Absent for a URL.
    watcher: Option<FileWatcher>,
    /// Time of the last refresh. The lock is held during a refresh, so that refreshes run one at a time.
    last_refresh: Mutex<Instant>,
    /// Requests that wait for a refresh. They may hold memory before they are authenticated, so their number is bounded.
    waiting: Semaphore,
}

#[derive(Debug)]
struct VerificationKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// Loads the keys. Blocks on the file or the network.
    pub(super) fn load(source: JwksSource) -> Result<Self, JwksError> {
        let watcher = match &source {
            JwksSource::File(path) => Some(FileWatcher::new(vec![path.clone()])),
            JwksSource::Url(_) => None,
        };
        let keys = ArcSwap::from_pointee(read(&source)?);
        let (last_refresh, waiting) = (Mutex::new(Instant::now()), Semaphore::new(MAX_WAITING_REQUESTS));
        Ok(Self { source, keys, watcher, last_refresh, waiting })
    }

    /// Returns the keys with the given id and algorithm, or all keys of the algorithm if there is no id. An unknown id may
    /// belong to a new key, so it causes a refresh from the URL.
    pub(super) async fn find(self: &Arc<Self>, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let found = self.find_loaded(id, algorithm);
        if !found.is_empty() || matches!(self.source, JwksSource::File(_)) {
            return found;
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return found };
        // The refresh runs in its own task, so that it continues if the client disconnects.
        let this = Arc::clone(self);
        let refresh = tokio::spawn(async move { this.refresh(MIN_FETCH_INTERVAL).await });
        if let Err(error) = refresh.await {
            tracing::error!(%error, "the refresh of the key set panicked; the previous keys stay in use");
        }
        self.find_loaded(id, algorithm)
    }

    fn find_loaded(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let keys = self.keys.load();
        let matches = |key: &&VerificationKey| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id);
        keys.iter().filter(matches).map(|key| key.key.clone()).collect()
    }

    /// Loads the keys again, unless the last refresh was less than `min_interval` ago: a caller that waited for the lock uses
    /// the result of that refresh. If the new key set cannot be used, logs the error and keeps the keys.
    async fn refresh(&self, min_interval: Duration) {
        let mut last_refresh = self.last_refresh.lock().await;
        if last_refresh.elapsed() < min_interval {
            return;
        }
        *last_refresh = Instant::now();
        let source = self.source.clone();
        match spawn_blocking(move || read(&source)).await {
            Ok(Ok(keys)) => {
                tracing::debug!(keys = keys.len(), "reloaded the key set");
                self.keys.store(Arc::new(keys));
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot reload the key set; the previous keys stay in use"),
            Err(error) => tracing::error!(%error, "the reload of the key set panicked"),
        }
    }

    /// Refreshes the keys when the file changes, or at a fixed interval for a URL. Never returns.
    pub(super) async fn watch(&self) {
        let mut watcher = self.watcher.clone();
        loop {
            match &mut watcher {
                Some(file) => file.changed().await,
                None => tokio::time::sleep(FETCH_INTERVAL).await,
            }
            self.refresh(Duration::ZERO).await;
        }
    }
}

fn read(source: &JwksSource) -> Result<Vec<VerificationKey>, JwksError> {
    let (location, text) = match source {
        JwksSource::File(path) => {
            (path.display().to_string(), std::fs::read_to_string(path).map_err(|error| error.to_string()))
        }
        JwksSource::Url(url) => (location(url), fetch(url).map_err(|error| error.to_string())),
    };
    text.and_then(|text| parse(&text)).map_err(|reason| JwksError { location, reason })
}

/// Returns the URL without its query, which may contain a secret.
fn location(url: &Uri) -> String {
    let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.authority().map_or("", |host| host.as_str()));
    format!("{scheme}://{host}{}", url.path())
}

fn fetch(url: &Uri) -> Result<String, ureq::Error> {
    let config = agent_config(CertificateVerification::Platform).timeout_global(Some(FETCH_TIMEOUT));
    // Plain HTTP must stay on this machine, so it bypasses a proxy from the environment.
    let config = if url.scheme_str() == Some("http") { config.proxy(None) } else { config };
    let agent: Agent = config.build().into();
    agent.get(url).call()?.body_mut().with_config().limit(MAX_KEY_SET_BYTES).read_to_string()
}

/// Parses a key set and returns the keys that can verify a token.
fn parse(text: &str) -> Result<Vec<VerificationKey>, String> {
    let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("it is not a JSON Web Key Set: {error}"))?;
    let keys: Vec<VerificationKey> = set.keys.iter().filter_map(verification_key).collect();
    if keys.is_empty() {
        return Err("it has no key for RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA".to_string());
    }
    Ok(keys)
}

/// Converts a key, or returns `None` if it is for another purpose. Symmetric keys are never used: every reader of the key set
/// could sign tokens with them.
fn verification_key(jwk: &Jwk) -> Option<VerificationKey> {
    let algorithm = algorithm(&jwk.algorithm, jwk.common.key_algorithm)?;
    let is_for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| is_for_signatures)?;
    Some(VerificationKey { id: jwk.common.key_id.clone(), algorithm, key })
}

/// Returns the one algorithm of a key, or `None` if Kiln does not support it.
///
/// A curve has one algorithm. An RSA key fits six, and `declared` (the member `alg` of the key) chooses; without it the key is
/// for RS256, the most common one. A key for several algorithms would let tokens choose among them (RFC 8725, section 3.1).
fn algorithm(key: &AlgorithmParameters, declared: Option<KeyAlgorithm>) -> Option<Algorithm> {
    let candidates: &[Algorithm] = match key {
        AlgorithmParameters::RSA(_) => &RSA_ALGORITHMS,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    candidates.iter().copied().find(|algorithm| declared.is_none_or(|name| name == KeyAlgorithm::from(*algorithm)))
}
