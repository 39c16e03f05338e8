//! Settings of authentication: API keys, the key file, and the tokens of an identity provider.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use ureq::http::Uri;

use super::api_key::ApiKey;
use super::principal::RateLimit;
use super::token_scopes::{ScopeClaim, ScopeMap};

/// Minimum length of the shared secret for HS256 in bytes (RFC 7518, section 3.2).
const MIN_TOKEN_SECRET_BYTES: usize = 32;

/// Settings of authentication.
#[derive(Clone, Debug)]
pub struct Config {
    /// The API key of the whole server, which has every scope.
    pub api_key: Option<ApiKey>,
    /// Path of the key file, which lists further API keys.
    pub key_file: Option<PathBuf>,
    /// Settings of token verification. Without them, no token is accepted.
    pub tokens: Option<TokenConfig>,
    /// Failed authentications allowed per client address per minute.
    pub max_auth_failures: NonZeroU32,
}

/// Settings of token verification.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// Source of the provider's public keys.
    pub jwks: Option<JwksSource>,
    /// Secret shared with the token issuer, for HS256.
    pub secret: Option<TokenSecret>,
    /// Required issuer of a token (claim `iss`).
    pub issuer: String,
    /// Required audience of a token (claim `aud`).
    pub audience: String,
    /// Claim that lists the scopes of a token.
    pub scope_claim: ScopeClaim,
    /// Scopes of words that the provider uses.
    pub scope_map: ScopeMap,
    /// Limit on the request rate of each subject (claim `sub`).
    pub rate_limit: Option<RateLimit>,
}

/// A secret shared with the token issuer. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(String);

/// Source of a JSON Web Key Set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A local file.
    File(PathBuf),
    /// A URL: `https`, or `http` to the loopback interface.
    Url(Uri),
}

impl Config {
    /// Returns whether an API key, a key file or token verification is configured.
    pub(super) fn has_credentials(&self) -> bool {
        self.api_key.is_some() || self.key_file.is_some() || self.tokens.is_some()
    }
}

impl TokenSecret {
    /// Parses a secret for HS256.
    ///
    /// # Errors
    ///
    /// Returns a message if the secret has fewer than 32 bytes, the minimum of RFC 7518, section 3.2.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() < MIN_TOKEN_SECRET_BYTES {
            return Err(format!(
                "must have at least {MIN_TOKEN_SECRET_BYTES} bytes; 'openssl rand -base64 32' generates a strong secret"
            ));
        }
        Ok(Self(text.to_string()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

impl FromStr for JwksSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let url: Uri = text.parse().map_err(|_| "must be a file path or an https URL".to_string())?;
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("must not contain a user name or a password".to_string());
        }
        let is_loopback = matches!(url.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match url.scheme_str() {
            Some("https") => Ok(Self::Url(url)),
            Some("http") if is_loopback => Ok(Self::Url(url)),
            Some("http") => {
                Err("must be https: over http, an attacker on the network could replace the keys".to_string())
            }
            _ => Err("must be a file path or an https URL".to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jwks_url_without_encryption_is_refused() {
        let source = |text: &str| text.parse::<JwksSource>();
        assert!(source("https://id.example/jwks.json").is_ok());
        assert!(source("http://127.0.0.1:8000/jwks.json").is_ok());
        for wrong in [
            "http://localhost:80@192.0.2.2/jwks.json",
            "https://user:word@id.example/",
            "http://id.example/jwks.json",
            "http://localhost.evil.example/",
            "ftp://id.example/",
        ] {
            assert!(source(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn short_token_secret_is_refused_and_debug_prints_no_secret() {
        assert!(TokenSecret::parse("short").is_err());
        let secret = TokenSecret::parse("a secret that is shared by two parties alone").unwrap();
        assert_eq!(format!("{secret:?}"), "TokenSecret(..)");
    }
}
