//! Authenticates callers by API key or token, and limits failed attempts per client address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::api_key::ApiKey;
use super::config::Config;
use super::failure_limiter::FailureLimiter;
use super::keyring::{KeyFileError, Keyring};
use super::principal::Principal;
use super::server_key::ServerKeyError;
use super::tokens::jwks::JwksError;
use super::tokens::{TokenError, TokenVerifier, is_token};
use kiln_runtime::blocking::run_blocking;
use kiln_runtime::file_watcher::FileWatcher;

/// Interval at which expired records of client addresses are removed.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);

/// Authenticates callers.
#[derive(Debug)]
pub struct Authenticator {
    keyring: Keyring,
    tokens: Option<TokenVerifier>,
    failures: FailureLimiter,
    /// Created before the key file was read, so that no change is missed.
    key_file_watcher: FileWatcher,
}

/// The credential of a request.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// An API key.
    Key(&'a [u8]),
    /// The value after `Bearer`: an API key or a token.
    Bearer(&'a [u8]),
}

/// Why a caller is not authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Too many authentications from the client's address failed. The duration is the rest of the block.
    #[error("too many invalid keys came from your address")]
    TooManyFailures(Duration),
    /// The API key is unknown.
    #[error("the API key is not valid")]
    UnknownKey,
    /// The API key has expired.
    #[error("the API key has expired")]
    Expired,
    /// The token is not valid.
    #[error("the token is not valid: {0}")]
    Token(#[from] TokenError),
}

/// Why authentication cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The key set of the identity provider cannot be used.
    #[error(transparent)]
    Jwks(#[from] JwksError),
    /// The server has no API key.
    #[error(transparent)]
    ServerKey(#[from] ServerKeyError),
}

impl Authenticator {
    /// Loads the configured credentials. `server_key` is the API key of the whole server.
    ///
    /// Blocks on files, and on the network if the key set has a URL.
    ///
    /// # Errors
    ///
    /// Returns an error if the key file or the key set cannot be loaded or is invalid.
    pub fn load(config: &Config, server_key: Option<&ApiKey>) -> Result<Self, AuthSetupError> {
        let key_file_watcher = FileWatcher::new(config.key_file.clone().into_iter().collect());
        let keyring = Keyring::load(server_key, config.key_file.as_deref())?;
        let tokens = config.tokens.as_ref().map(TokenVerifier::load).transpose()?;
        Ok(Self { keyring, tokens, failures: FailureLimiter::new(config.max_auth_failures), key_file_watcher })
    }

    /// Authenticates a caller and returns its principal. Failures count against `address`, if it is known.
    ///
    /// # Errors
    ///
    /// See [`AuthError`].
    pub async fn authenticate(
        &self,
        credential: Credential<'_>,
        address: Option<IpAddr>,
    ) -> Result<Arc<Principal>, AuthError> {
        if let Some(address) = address {
            self.failures.check(address).map_err(AuthError::TooManyFailures)?;
        }
        let result = self.verify(credential).await;
        match (&result, address) {
            (Ok(_), Some(address)) => self.failures.record_success(address),
            (Err(_), Some(address)) => self.failures.record_failure(address).map_err(AuthError::TooManyFailures)?,
            (_, None) => {}
        }
        result
    }

    async fn verify(&self, credential: Credential<'_>) -> Result<Arc<Principal>, AuthError> {
        let key = match (credential, &self.tokens) {
            (Credential::Bearer(value), Some(tokens)) if is_token(value) => {
                return Ok(Arc::new(tokens.verify(value).await?));
            }
            (Credential::Bearer(key) | Credential::Key(key), _) => key,
        };
        let principal = self.keyring.find(key).ok_or(AuthError::UnknownKey)?;
        if principal.has_expired() { Err(AuthError::Expired) } else { Ok(principal) }
    }

    /// Reloads the key file and returns the number of its keys.
    ///
    /// # Errors
    ///
    /// Returns an error if the key file cannot be read or is invalid. The previous keys stay in use.
    pub fn reload(&self) -> Result<usize, KeyFileError> {
        let reloaded = self.keyring.reload();
        match &reloaded {
            Ok(keys) => tracing::info!(keys, "reloaded the key file"),
            Err(error) => tracing::warn!(%error, "cannot reload the key file; the previous keys stay in use"),
        }
        reloaded
    }

    /// Reloads the key file and the key set when they change, and removes expired records of client addresses. Never
    /// returns.
    pub async fn run_maintenance(self: &Arc<Self>) {
        let key_file = async {
            let mut watcher = self.key_file_watcher.clone();
            loop {
                watcher.changed().await;
                // Reading a file on a network file system may block. `reload` logs its errors, and a panic ends this task.
                let this = Arc::clone(self);
                let _ = run_blocking(move || this.reload()).await;
            }
        };
        let key_set = async {
            match &self.tokens {
                Some(tokens) => tokens.watch_keys().await,
                None => std::future::pending().await,
            }
        };
        let cleanup = async {
            loop {
                tokio::time::sleep(CLEANUP_INTERVAL).await;
                self.failures.remove_expired();
            }
        };
        tokio::join!(key_file, key_set, cleanup);
    }
}
