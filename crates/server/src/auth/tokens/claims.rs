//! What a token says of its bearer.

use serde::Deserialize;

use crate::auth::account::Account;
use crate::auth::scope::Scopes;
use kiln_runtime::scheduling::Priority;

/// The claims that are of interest beside those that are checked: `sub` (RFC 7519, 4.1.2), `scope` (RFC 8693, 4.2), and `scp`,
/// as Microsoft and Okta call it.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    scope: Option<Words>,
    #[serde(default)]
    scp: Option<Words>,
}

/// Words with spaces between them, or a list of words.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

/// What a scope may begin with, for providers that know more services than this one.
const PREFIX: &str = "kiln:";

impl Words {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let (text, list) = match self {
            Self::Text(text) => (text.as_str(), &[][..]),
            Self::List(list) => ("", list.as_slice()),
        };
        text.split_ascii_whitespace().chain(list.iter().map(String::as_str))
    }
}

impl Claims {
    /// The bearer. Words that are no scope here are meant for others.
    pub(super) fn into_account(self) -> Account {
        let words = [&self.scope, &self.scp].into_iter().flatten().flat_map(Words::iter);
        let scopes = words.filter_map(|word| word.strip_prefix(PREFIX).unwrap_or(word).parse().ok());
        let scopes: Scopes = scopes.collect();
        // It goes into the log, where it must not look like more than a name.
        let fit = |id: &String| id.len() <= 128 && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        Account {
            // No key's name has a colon, so nobody passes for a key in the log.
            id: format!("token:{}", self.sub.filter(fit).unwrap_or_default()),
            label: "token".to_string(),
            scopes,
            // The token itself was checked.
            expires: None,
            rate: None,
            share: None,
            priority: Some(Priority::Normal),
        }
    }
}
