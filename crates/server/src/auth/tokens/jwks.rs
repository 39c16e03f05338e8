//! The provider's public keys (JSON Web Key Set, RFC 7517): from a file or an address, and kept up to date.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio_rustls::rustls::crypto::ring;
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};

use kiln_runtime::file_watcher::Watched;

/// How often keys are fetched anew. Providers announce a key long before they use it.
const FETCH_INTERVAL: Duration = Duration::from_secs(300);
/// A token of an unknown key makes them be fetched at once, but not more often than this.
const LEAST_INTERVAL: Duration = Duration::from_secs(10);
/// How long that may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests that wait for it at the most; others are judged by what is known.
const MOST_WAITING: usize = 32;
/// Far above any key set.
const MOST_BYTES: u64 = 1 << 20;

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// At an address: https, or http on this machine.
    Address(Uri),
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key set {place} cannot be used: {reason}")]
pub struct JwksError {
    place: String,
    reason: String,
}

/// The keys that are known now.
#[derive(Debug)]
pub(super) struct KeySet {
    source: Source,
    keys: RwLock<Arc<[Key]>>,
    /// The file that they come from; made before it was read.
    watched: Option<Watched>,
    /// When they were last asked for, and the turn to do so.
    asked: Mutex<Instant>,
    /// Requests that wait for that. Each may hold bytes, and nobody knows yet who sends it.
    waiting: Semaphore,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let address: Uri = text.parse().map_err(|_| "must be a file or an https address".to_string())?;
        if address.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("must not hold a name or a password".to_string());
        }
        let here = matches!(address.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match address.scheme_str() {
            Some("https") => Ok(Self::Address(address)),
            Some("http") if here => Ok(Self::Address(address)),
            Some("http") => Err("must be https: whoever sits in between could exchange the keys".to_string()),
            _ => Err("must be a file or an https address".to_string()),
        }
    }
}

impl KeySet {
    /// Reads the keys, and waits for that.
    pub(super) fn load(source: Source) -> Result<Self, JwksError> {
        let watched = match &source {
            Source::File(path) => Some(Watched::new(vec![path.clone()])),
            Source::Address(_) => None,
        };
        let keys = RwLock::new(read(&source)?.into());
        let (asked, waiting) = (Mutex::new(Instant::now()), Semaphore::new(MOST_WAITING));
        Ok(Self { source, keys, watched, asked, waiting })
    }

    /// The keys of that name and algorithm; of that algorithm, where there is no name. A name that is not known may be new.
    pub(super) async fn find(self: &Arc<Self>, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let known = self.known(id, algorithm);
        if !known.is_empty() || matches!(self.source, Source::File(_)) {
            return known;
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return known };
        // In a task of its own: a client that hangs up must not end it half-way.
        let this = Arc::clone(self);
        let refreshed = tokio::spawn(async move { this.refresh(LEAST_INTERVAL).await });
        // A refresh never panics; and if it did, what is known would still be.
        let _ = refreshed.await;
        self.known(id, algorithm)
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let fits = |key: &&Key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id);
        keys.iter().filter(fits).map(|key| key.key.clone()).collect()
    }

    /// Asks for the keys, unless that was done within `least`: who waited for his turn has what came of it. What cannot be
    /// used is told and not taken.
    async fn refresh(&self, least: Duration) {
        let mut asked = self.asked.lock().await;
        if asked.elapsed() < least {
            return;
        }
        *asked = Instant::now();
        let source = self.source.clone();
        match spawn_blocking(move || read(&source)).await {
            Ok(Ok(keys)) => {
                tracing::debug!(keys = keys.len(), "the key set was read");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
            }
            Ok(Err(error)) => tracing::warn!(%error, "the last key set stays in use"),
            Err(error) => tracing::error!(%error, "the key set could not be read"),
        }
    }

    pub(super) async fn keep_up(&self) {
        let mut watched = self.watched.clone();
        loop {
            match &mut watched {
                Some(file) => file.changed().await,
                None => tokio::time::sleep(FETCH_INTERVAL).await,
            }
            self.refresh(Duration::ZERO).await;
        }
    }
}

fn read(source: &Source) -> Result<Vec<Key>, JwksError> {
    let (place, text) = match source {
        Source::File(path) => (path.display().to_string(), std::fs::read_to_string(path).map_err(|e| e.to_string())),
        Source::Address(address) => (place(address), fetch(address).map_err(|error| error.to_string())),
    };
    text.and_then(|text| parse(&text)).map_err(|reason| JwksError { place, reason })
}

/// An address without what may be secret in it.
fn place(address: &Uri) -> String {
    let (scheme, host) =
        (address.scheme_str().unwrap_or_default(), address.authority().map_or("", |host| host.as_str()));
    format!("{scheme}://{host}{}", address.path())
}

fn fetch(address: &Uri) -> Result<String, ureq::Error> {
    // The certificates that the machine trusts, an organisation's own among them.
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
    let config = Agent::config_builder().tls_config(tls.build()).timeout_global(Some(FETCH_TIMEOUT)).max_redirects(0);
    // Without encryption there must be nobody in between, a proxy of the environment no more than others.
    let config = if address.scheme_str() == Some("http") { config.proxy(None) } else { config };
    let agent: Agent = config.build().into();
    agent.get(address).call()?.body_mut().with_config().limit(MOST_BYTES).read_to_string()
}

/// The keys that may verify a token's signature.
fn parse(text: &str) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("it is no JSON Web Key Set: {error}"))?;
    let keys: Vec<Key> = set.keys.iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err("it has no key for RS256, ES256 or EdDSA".to_string());
    }
    Ok(keys)
}

/// Keys of other kinds are for others. Symmetric ones above all: whoever may read the set could sign with them.
fn usable(jwk: &Jwk) -> Option<Key> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let for_that = jwk.common.key_algorithm.is_none_or(|algorithm| algorithm == named);
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| for_signatures && for_that)?;
    Some(Key { id: jwk.common.key_id.clone(), algorithm, key })
}
