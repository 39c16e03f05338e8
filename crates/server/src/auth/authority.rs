//! Judges what callers show: a key or a token, and from where.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use super::attempts::Attempts;
use super::keyring::{KeyFileError, Keyring};
use super::secret::Secret;
use super::tokens::{JwksError, TokenError, Tokens, is_token};
use super::{Config, KeyError};
use kiln_runtime::file_watcher::Watched;

/// How often what is known of addresses is gone through.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// Knows every key, and whose tokens to trust.
#[derive(Debug)]
pub struct Authority {
    keyring: Keyring,
    tokens: Option<Tokens>,
    attempts: Attempts,
    /// Made before the key file was read.
    watched: Watched,
}

/// What a caller shows.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// A key.
    Key(&'a [u8]),
    /// A key or a token: the word behind `Bearer`.
    Bearer(&'a [u8]),
}

/// Why a caller is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// From his address came too many wrong keys.
    #[error("too many wrong keys came from your address")]
    TooManyFailures(Duration),
    /// Nobody has that key.
    #[error("the API key is not valid")]
    UnknownKey,
    /// It was right once.
    #[error("the API key has expired")]
    Expired,
    /// The token does not hold.
    #[error("the token is not valid: {0}")]
    Token(#[from] TokenError),
}

/// Why nobody could be judged.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The key set.
    #[error(transparent)]
    Jwks(#[from] JwksError),
    /// The API key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Authority {
    /// Reads what was configured; a key set over the network. `own` is the key of the whole server.
    ///
    /// # Errors
    ///
    /// Something cannot be had, or is wrong.
    pub fn load(config: &Config, own: Option<&Secret>) -> Result<Self, AuthorityError> {
        let watched = Watched::new(config.file.clone().into_iter().collect());
        let keyring = Keyring::load(own, config.file.as_deref())?;
        let tokens = config.tokens.as_ref().map(Tokens::load).transpose()?;
        Ok(Self { keyring, tokens, attempts: Attempts::new(config.max_auth_failures), watched })
    }

    /// Who that is.
    ///
    /// # Errors
    ///
    /// See [`Denied`].
    pub async fn identify(&self, shown: Credential<'_>, from: Option<IpAddr>) -> Result<Arc<Account>, Denied> {
        if let Some(from) = from {
            self.attempts.may_try(from).map_err(Denied::TooManyFailures)?;
        }
        let judged = self.judge(shown).await;
        match (&judged, from) {
            (Ok(_), Some(from)) => self.attempts.succeeded(from),
            (Err(_), Some(from)) => self.attempts.failed(from).map_err(Denied::TooManyFailures)?,
            (_, None) => {}
        }
        judged
    }

    async fn judge(&self, shown: Credential<'_>) -> Result<Arc<Account>, Denied> {
        let key = match (shown, &self.tokens) {
            (Credential::Bearer(word), Some(tokens)) if is_token(word) => {
                return Ok(Arc::new(tokens.verify(word).await?));
            }
            (Credential::Bearer(key) | Credential::Key(key), _) => key,
        };
        let account = self.keyring.find(key).ok_or(Denied::UnknownKey)?;
        if account.has_expired() { Err(Denied::Expired) } else { Ok(account) }
    }

    /// Takes the key file as it is now; the answer tells how many keys it has.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is wrong; the keys stay as they were.
    pub fn reload(&self) -> Result<usize, KeyFileError> {
        let loaded = self.keyring.reload();
        match &loaded {
            Ok(keys) => tracing::info!(keys, "the key file was read"),
            Err(error) => tracing::warn!(%error, "the last keys stay in use"),
        }
        loaded
    }

    /// Follows changes of the key file and the key set. Never ends.
    pub async fn keep_up(self: &Arc<Self>) {
        let keys = async {
            let mut watched = self.watched.clone();
            loop {
                watched.changed().await;
                // The reason was logged. Reading may take a while where the file is far away.
                let this = Arc::clone(self);
                let _ = tokio::task::spawn_blocking(move || this.reload()).await;
            }
        };
        let tokens = async {
            match &self.tokens {
                Some(tokens) => tokens.keep_up().await,
                None => std::future::pending().await,
            }
        };
        let addresses = async {
            loop {
                tokio::time::sleep(FORGET_INTERVAL).await;
                self.attempts.forget();
            }
        };
        tokio::join!(keys, tokens, addresses);
    }
}
