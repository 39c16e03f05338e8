//! The API key: how one is made, kept, compared, and had when none was configured. It knows no HTTP.

mod generate;
mod notice;
mod provision;
mod secret;

pub use generate::generate;
pub use provision::{KeyError, Provisioned, check, provision};
pub use secret::Secret;

/// What the operator configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The key, if one was given.
    pub api_key: Option<Secret>,
}
