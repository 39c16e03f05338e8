//! Authentication by API key or token, with scopes and limits per key. This module is independent of HTTP.
//!
//! [`Authenticator`] turns the credential of a request into a [`Principal`]: API keys come from the configuration and a key
//! file, tokens from an identity provider.

mod api_key;
mod authenticator;
mod config;
mod failure_limiter;
mod key_file;
mod keyring;
mod principal;
mod scope;
mod server_key;
mod token_scopes;
mod tokens;

pub use api_key::{ApiKey, KeyDigest};
pub use authenticator::{AuthError, AuthSetupError, Authenticator, Credential};
pub use config::{Config, JwksSource, TokenConfig, TokenSecret};
pub use key_file::{KeyEntry, KeyPolicy, check_key_id, check_queue_share, parse_expiry};
pub use keyring::{KeyFileError, Keyring};
pub use kiln_runtime::scheduling::Priority;
pub use principal::{Principal, RateLimit, RequestRateLimiter};
pub use scope::{Scope, Scopes, UnknownScope};
pub use server_key::{ServerKey, ServerKeyError, check_credentials};
pub use token_scopes::{ScopeClaim, ScopeMap};
pub use tokens::TokenError;
pub use tokens::jwks::JwksError;
