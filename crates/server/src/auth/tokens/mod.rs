//! Verification of tokens from an identity provider: JSON Web Tokens (RFC 7519) as bearer tokens (RFC 6750).
//!
//! The key determines the signature algorithm, never the token: an RSA key verifies the one of RS256 to RS512 and PS256 to PS512
//! that it declares, a P-256 key ES256, a P-384 key ES384, an Ed25519 key EdDSA, and the shared secret HS256.

pub(super) mod jwks;
mod ring_provider;
mod subject_limiters;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::config::TokenConfig;
use super::principal::Principal;
use super::token_scopes::{InvalidScopeClaim, ScopeClaim, ScopeMap};
use jwks::{JwksError, KeySet};
use kiln_runtime::scheduling::Priority;
use subject_limiters::SubjectLimiters;

/// Allowed clock difference between the issuer and this machine, in seconds.
const LEEWAY: u64 = 30;

/// Why a token is not accepted. The message may be shown to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text is not a token, or a claim has the wrong type.
    #[error("it is malformed")]
    Malformed,
    /// No known key matches the token's key id and algorithm.
    #[error("no known key matches its key id and algorithm")]
    UnknownKey,
    /// The token was modified, or signed with another key.
    #[error("its signature is invalid")]
    Signature,
    /// The expiry time (claim `exp`) has passed.
    #[error("it has expired")]
    Expired,
    /// The start time (claim `nbf`) has not been reached.
    #[error("it is not valid yet")]
    NotYet,
    /// The issuer (claim `iss`) is not the configured one.
    #[error("it is from another issuer")]
    Issuer,
    /// The audience (claim `aud`) is not the configured one.
    #[error("it is for another audience")]
    Audience,
    /// A required claim is missing: `exp`, `iss` or `aud`.
    #[error("it lacks exp, iss or aud")]
    Incomplete,
}

/// Verifies tokens.
#[derive(Debug)]
pub(super) struct TokenVerifier {
    issuer: String,
    audience: String,
    scope_claim: ScopeClaim,
    scope_map: ScopeMap,
    /// Absent if tokens have no rate limit.
    limiters: Option<SubjectLimiters>,
    secret: Option<DecodingKey>,
    keys: Option<Arc<KeySet>>,
}

/// The claims that determine the principal: `sub` (RFC 7519, section 4.1.2), and among the others the one with the scopes. The
/// library checks the registered claims.
#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl TokenVerifier {
    /// Creates a verifier and loads its keys. Blocks on the network if the key set has a URL.
    ///
    /// # Errors
    ///
    /// Returns an error if the key set cannot be loaded.
    pub(super) fn load(config: &TokenConfig) -> Result<Self, JwksError> {
        ring_provider::install();
        Ok(Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            scope_claim: config.scope_claim.clone(),
            scope_map: config.scope_map.clone(),
            limiters: config.rate_limit.map(SubjectLimiters::new),
            secret: config.secret.as_ref().map(|secret| DecodingKey::from_secret(secret.as_bytes())),
            keys: config.jwks.clone().map(KeySet::load).transpose()?.map(Arc::new),
        })
    }

    /// Verifies a token and returns the principal of its bearer.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub(super) async fn verify(&self, token: &[u8]) -> Result<Principal, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            // RFC 7515, section 4.1.11: a critical extension that is not understood must be refused. None is supported.
            return Err(TokenError::Malformed);
        }
        let (algorithm, key_id) = (header.alg, header.kid.as_deref());
        let candidates = match (algorithm, &self.secret, &self.keys) {
            (Algorithm::HS256, Some(secret), _) => vec![secret.clone()],
            (Algorithm::HS256, None, _) | (_, _, None) => Vec::new(),
            (_, _, Some(keys)) => keys.find(key_id, algorithm).await,
        };
        let mut last_error = TokenError::UnknownKey;
        for key in candidates {
            match self.claims(token, &key, algorithm) {
                Ok(claims) => return self.principal(claims).await,
                Err(error) => last_error = error,
            }
            // A token without a key id may be signed with another of the keys.
            if last_error != TokenError::Signature {
                break;
            }
        }
        Err(last_error)
    }

    /// Checks the signature and the registered claims, and returns the claims of the principal.
    fn claims(&self, token: &[u8], key: &DecodingKey, algorithm: Algorithm) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        let token: TokenData<Claims> = decode(token, key, &validation).map_err(|error| token_error(error.kind()))?;
        Ok(token.claims)
    }

    /// Returns the principal of the bearer.
    async fn principal(&self, mut claims: Claims) -> Result<Principal, TokenError> {
        // The subject may be the claim that determines the scopes.
        if let Some(subject) = &claims.sub {
            claims.others.insert("sub".to_string(), subject.as_str().into());
        }
        let words = self.scope_claim.words(&claims.others).map_err(|InvalidScopeClaim| TokenError::Malformed)?;
        let scopes = self.scope_map.scopes(words);
        let rate_limiter = match &self.limiters {
            Some(limiters) => Some(limiters.limiter(claims.sub.as_deref()).await),
            None => None,
        };
        // The id appears in the log, so it must look like a name and nothing else.
        let is_valid_id =
            |id: &String| id.len() <= 128 && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        Ok(Principal {
            // The name of an API key contains no colon, so no token can pass as a key in the log.
            id: format!("token:{}", claims.sub.filter(is_valid_id).unwrap_or_default()),
            metric_label: "token".to_string(),
            scopes,
            // The expiry time of the token is already checked.
            expires: None,
            rate_limiter,
            queue_share: None,
            priority: Some(Priority::Normal),
        })
    }

    /// Keeps the key set up to date. Never returns.
    pub(super) async fn watch_keys(&self) {
        match &self.keys {
            Some(keys) => keys.watch().await,
            None => std::future::pending().await,
        }
    }
}

fn token_error(kind: &ErrorKind) -> TokenError {
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

/// Returns whether the value after `Bearer` is a token and not an API key. A token has three parts separated by dots; a
/// generated key contains no dot.
pub(super) fn is_token(value: &[u8]) -> bool {
    value.iter().filter(|byte| **byte == b'.').count() == 2
}
