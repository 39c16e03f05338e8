//! The scopes of a token: what the words of an identity provider permit.
//!
//! A word permits something only if it is a scope with the prefix `kiln:`, or if the operator maps it to a scope. Providers have
//! words such as `admin` for their own purposes, and those must not open Kiln.

use std::collections::HashMap;
use std::str::FromStr;

use super::scope::{Scope, Scopes, TOKEN_PREFIX};

/// The scopes that the operator gives to words of the identity provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeMap(HashMap<String, Scopes>);

impl ScopeMap {
    /// Returns the scopes of the words of one token. Unknown words belong to other services and are ignored.
    pub(super) fn scopes<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Scopes {
        words.into_iter().flat_map(|word| self.scopes_of(word).iter()).collect()
    }

    fn scopes_of(&self, word: &str) -> Scopes {
        match word.strip_prefix(TOKEN_PREFIX) {
            Some(name) => name.parse::<Scope>().into_iter().collect(),
            None => self.0.get(word).copied().unwrap_or_default(),
        }
    }
}

impl FromStr for ScopeMap {
    type Err = String;

    /// Parses `WORD=SCOPE` with commas. Spaces around an element are ignored. A word that stands several times has several
    /// scopes.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut map = Self::default();
        for element in text.split(',') {
            // A word may contain `=`, a scope does not.
            let (word, scope) = element
                .rsplit_once('=')
                .map(|(word, scope)| (word.trim(), scope.trim()))
                .filter(|(word, _)| !word.is_empty())
                .ok_or("must be WORD=SCOPE, several with commas, such as image-users=predict,ml-ops=admin")?;
            if word.starts_with(TOKEN_PREFIX) {
                return Err(format!("maps '{word}', but a word with the prefix '{TOKEN_PREFIX}' is always a scope"));
            }
            let scope = scope.parse::<Scope>().map_err(|error| format!("is wrong: {error}"))?;
            map.0.entry(word.to_string()).or_default().insert(scope);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(map: &str, words: &[&str]) -> String {
        map.parse::<ScopeMap>().unwrap().scopes(words.iter().copied()).to_string()
    }

    #[test]
    fn word_opens_nothing_without_the_prefix_or_a_mapping() {
        let unmapped = ScopeMap::default();
        for word in
            ["predict", "feedback", "metrics", "admin", "kiln:", "kiln:root", "kiln:kiln:admin", "Kiln:admin", ""]
        {
            assert!(unmapped.scopes([word]).is_empty(), "{word}");
        }
        assert_eq!(
            unmapped.scopes(["openid", "admin", "kiln:predict", "kiln:metrics"]).to_string(),
            "predict, metrics"
        );
    }

    #[test]
    fn mapped_word_has_exactly_its_scopes() {
        let map = "image-users=predict, ml-ops=admin,ml-ops=predict, cn=Image Team=metrics";
        assert_eq!(scopes(map, &["image-users", "admin"]), "predict");
        assert_eq!(scopes(map, &["ml-ops"]), "predict, admin");
        assert_eq!(scopes(map, &["cn=Image Team", "kiln:feedback"]), "feedback, metrics");
        assert_eq!(scopes(map, &["Image-Users", "image-users ", "ml-ops=admin"]), "");
        assert_eq!(scopes("predict=predict", &["predict", "admin"]), "predict");
    }

    #[test]
    fn invalid_mapping_is_refused_with_its_reason() {
        for (text, reason) in [
            ("image-users", "must be WORD=SCOPE"),
            ("=predict", "must be WORD=SCOPE"),
            ("a=predict,", "must be WORD=SCOPE"),
            ("a=root", "is wrong: 'root' is not a scope; the scopes are predict"),
            ("a=kiln:predict", "is wrong: 'kiln:predict' is not a scope"),
            ("kiln:predict=admin", "maps 'kiln:predict', but"),
        ] {
            let error = text.parse::<ScopeMap>().unwrap_err();
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
