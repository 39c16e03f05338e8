//! Keys and tokens: how they are made, kept and judged, and what their owners may do. It knows no HTTP.
//!
//! | file | responsibility |
//! |---|---|
//! | `authority.rs` | judges what a caller shows |
//! | `account.rs`, `scope.rs` | who a caller is, and what he may do and take |
//! | `keyring.rs`, `file.rs`, `digest.rs` | the keys that hold now; the file that they come from; what is kept of each |
//! | `terms.rs` | what a key of that file is for |
//! | `tokens/` | tokens of an identity provider |
//! | `attempts.rs` | wrong keys, by address |
//! | `provision.rs`, `notice.rs` | the key of a server that was given none |
//! | `generate.rs`, `secret.rs` | new keys; texts that do not print |

mod account;
mod attempts;
mod authority;
mod digest;
mod file;
mod generate;
mod keyring;
mod notice;
mod provision;
mod scope;
mod secret;
mod terms;
#[cfg(test)]
mod tests;
mod tokens;

use std::num::NonZeroU32;
use std::path::PathBuf;

pub use kiln_runtime::scheduling::Priority;
pub use account::{Account, RateLimit};
pub use authority::{Authority, AuthorityError, Credential, Denied};
pub use digest::Digest;
pub use file::Entry;
pub use generate::generate;
pub use keyring::{KeyFileError, Keyring};
pub use provision::{KeyError, Provisioned, check, provision};
pub use scope::{Scope, Scopes, UnknownScope};
pub use secret::Secret;
pub use terms::{Terms, check_id, check_share, instant, rate};
pub use tokens::{Config as TokenConfig, JwksError, Source, TokenError, TokenSecret};

/// What the operator configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The key of the whole server, if one was given.
    pub api_key: Option<Secret>,
    /// The file with more keys.
    pub file: Option<PathBuf>,
    /// Whose tokens are accepted.
    pub tokens: Option<TokenConfig>,
    /// Wrong keys and tokens a minute that are borne from one address.
    pub max_auth_failures: NonZeroU32,
}

impl Config {
    /// Whether anybody could be let in without a key made for the run.
    fn knows_someone(&self) -> bool {
        self.api_key.is_some() || self.file.is_some() || self.tokens.is_some()
    }
}
