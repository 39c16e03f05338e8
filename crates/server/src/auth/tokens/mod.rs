//! Tokens of an identity provider: JSON Web Tokens (RFC 7519) as bearer tokens (RFC 6750).
//!
//! | file | responsibility |
//! |---|---|
//! | `jwks.rs` | the provider's public keys, and where they come from |
//! | `claims.rs` | what a token says of its bearer |
//! | `verifier.rs` | signatures, with ring |
//!
//! A key decides with which algorithm a token must be signed, never the token: RSA keys go with RS256, P-256 keys with ES256,
//! Ed25519 keys with EdDSA, and the shared secret with HS256.

mod claims;
mod jwks;
#[cfg(test)]
mod tests;
mod verifier;

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header};

use super::account::Account;
use claims::Claims;
use jwks::KeySet;

pub use jwks::{JwksError, Source};

/// How much the clocks of two machines may differ, in seconds.
const LEEWAY: u64 = 30;

/// What the operator configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The provider's public keys.
    pub jwks: Option<Source>,
    /// The secret that is shared with whoever makes the tokens.
    pub secret: Option<TokenSecret>,
    /// Who must have made a token.
    pub issuer: String,
    /// Whom it must be meant for.
    pub audience: String,
}

/// A shared secret; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(String);

/// Why a token is not accepted. The bearer may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token, or says things of a wrong type.
    #[error("it is malformed")]
    Malformed,
    /// No key is known that could have signed it by that algorithm.
    #[error("no key is known that it could be signed with")]
    UnknownKey,
    /// It was changed, or signed with another key.
    #[error("its signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// Somebody else made it.
    #[error("it is from another issuer")]
    Issuer,
    /// It is meant for somebody else.
    #[error("it is meant for another audience")]
    Audience,
    /// It lacks what every token must say: its end, its issuer or its audience.
    #[error("it lacks exp, iss or aud")]
    Incomplete,
}

/// Judges tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    issuer: String,
    audience: String,
    secret: Option<DecodingKey>,
    keys: Option<Arc<KeySet>>,
}

impl TokenSecret {
    /// A secret for HS256.
    ///
    /// # Errors
    ///
    /// It has less than the 32 bytes that RFC 7518, 3.2 asks for.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() < 32 {
            return Err("must have at least 32 bytes; 'openssl rand -base64 32' makes a good one".to_string());
        }
        Ok(Self(text.to_string()))
    }
}

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

impl Tokens {
    /// Has the keys loaded; where they come from an address, over the network.
    ///
    /// # Errors
    ///
    /// They cannot be had.
    pub(super) fn load(config: &Config) -> Result<Self, JwksError> {
        verifier::install();
        Ok(Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            secret: config.secret.as_ref().map(|secret| DecodingKey::from_secret(secret.0.as_bytes())),
            keys: config.jwks.clone().map(KeySet::load).transpose()?.map(Arc::new),
        })
    }

    /// The bearer of a token that holds.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub(super) async fn verify(&self, token: &[u8]) -> Result<Account, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: what is critical and not understood must be refused, and none of it is.
            return Err(TokenError::Malformed);
        }
        let (algorithm, kid) = (header.alg, header.kid.as_deref());
        let candidates = match (algorithm, &self.secret, &self.keys) {
            (Algorithm::HS256, Some(secret), _) => vec![secret.clone()],
            (Algorithm::HS256, None, _) | (_, _, None) => Vec::new(),
            (_, _, Some(keys)) => keys.find(kid, algorithm).await,
        };
        let mut refusal = TokenError::UnknownKey;
        for key in candidates {
            match self.claims(token, &key, algorithm) {
                Ok(claims) => return Ok(claims.into_account()),
                Err(error) => refusal = error,
            }
            // Without a name for the key, another one may fit.
            if refusal != TokenError::Signature {
                break;
            }
        }
        Err(refusal)
    }

    fn claims(&self, token: &[u8], key: &DecodingKey, algorithm: Algorithm) -> Result<Claims, TokenError> {
        let mut rules = Validation::new(algorithm);
        rules.leeway = LEEWAY;
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        let read: TokenData<Claims> = decode(token, key, &rules).map_err(|error| reason(error.kind()))?;
        Ok(read.claims)
    }

    /// Keeps the keys up to date. Never ends.
    pub(super) async fn keep_up(&self) {
        match &self.keys {
            Some(keys) => keys.keep_up().await,
            None => std::future::pending().await,
        }
    }
}

fn reason(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(_) => TokenError::Incomplete,
        _ => TokenError::Malformed,
    }
}

/// Whether a bearer's word is a token and no key: three parts with dots between them. Keys that 'kiln keygen' makes hold
/// none.
pub(super) fn is_token(word: &[u8]) -> bool {
    word.iter().filter(|byte| **byte == b'.').count() == 2
}
